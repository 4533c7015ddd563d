/** The page's entry: the theme first, then the shell. */
import { chosenTheme, setTheme } from "./theme.ts";
import "./elements/app.ts";

setTheme(chosenTheme());
