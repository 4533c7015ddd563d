/** The views of the page: one row each; a view's code is loaded when it is opened. */
import { html, type TemplateResult } from "lit";
import type { Session } from "./session.ts";

/** A row of the rail. */
export interface View {
  /** In the address: `#id`. */
  readonly id: string;
  readonly title: string;
  /** Path of a 24 x 24 drawing, stroked. */
  readonly icon: string;
  /** Loads the view's element. */
  readonly load: () => Promise<unknown>;
  readonly render: (session: Session) => TemplateResult;
}

/** In the order of the rail; the first is what the page opens with. */
export const views: readonly View[] = [
  {
    id: "lab",
    title: "Lab",
    icon: "M9 3h6M10 3v6l-5 9a2 2 0 0 0 2 3h10a2 2 0 0 0 2-3l-5-9V3M7.5 15h9",
    load: () => import("./views/lab.ts"),
    render: (session) => html`<ringside-lab .session=${session}></ringside-lab>`,
  },
];
