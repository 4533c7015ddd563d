/** The page's entry: the theme first, then the shell. */
import { chosenTheme, setTheme } from "./shell/theme.ts";
import "./shell/app.ts";

setTheme(chosenTheme());
