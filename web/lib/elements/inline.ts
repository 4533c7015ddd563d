/** Templates within a line of text. */
import { html } from "lit";

/**
 * The same as `html`. The formatter lays out `html` templates and adds spaces at their ends. It leaves these alone, so
 * that no space shows before a comma.
 */
export const inline = html;
