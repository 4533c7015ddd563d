/** The views of the page, one row each. Opening a view loads its code. */
import { html, type TemplateResult } from "lit";
import type { PageState } from "../lib/experiment/page-state.ts";

/** A row of the rail. */
export interface View {
  /** In the address: `#id`. */
  readonly id: string;
  readonly title: string;
  /** SVG path of a 24 x 24 line drawing. */
  readonly icon: string;
  /** Loads the view's element. */
  readonly load: () => Promise<unknown>;
  readonly render: (page: PageState) => TemplateResult;
  /** True if the view has its own sentence, timeline and status, instead of the Lab's. */
  readonly whole?: boolean;
  /** True if the timeline is hidden until there is something to draw. */
  readonly tall?: boolean;
}

/** The view that the address names, or the first. */
export function viewOfAddress(): View {
  return views.find(({ id }) => `#${id}` === location.hash) ?? views[0];
}

/** In the order of the rail. The page opens with the first. */
export const views: readonly View[] = [
  {
    id: "lab",
    title: "Lab",
    icon: "M9 3h6M10 3v6l-5 9a2 2 0 0 0 2 3h10a2 2 0 0 0 2-3l-5-9V3M7.5 15h9",
    load: () => import("../views/lab/lab.ts"),
    render: (page) => html`<ringside-lab .page=${page}></ringside-lab>`,
  },
  {
    id: "step",
    title: "Step",
    icon: "M5 5v14M9 12h9M14 8l4 4l-4 4M21.5 5v14",
    load: () => import("../views/step/step.ts"),
    render: (page) => html`<ringside-step .page=${page}></ringside-step>`,
    tall: true,
  },
  {
    id: "conversation",
    title: "Conversation",
    icon: "M4 5h11a1 1 0 0 1 1 1v6a1 1 0 0 1-1 1H9l-3 3v-3H4a1 1 0 0 1-1-1V6a1 1 0 0 1 1-1" +
      "M19 9h1a1 1 0 0 1 1 1v7a1 1 0 0 1-1 1h-2v3l-3-3h-4a1 1 0 0 1-1-1",
    load: () => import("../views/conversation/conversation.ts"),
    render: (page) => html`<ringside-conversation .page=${page}></ringside-conversation>`,
    whole: true,
  },
  {
    id: "check",
    title: "Check",
    icon: "M9 3h6v3H9zM15 4.5h3.5V21h-13V4.5H9M8.5 13.5l2.5 2.5 4.5-5",
    load: () => import("../views/check/check.ts"),
    render: () => html`<ringside-check></ringside-check>`,
    whole: true,
  },
  {
    id: "planner",
    title: "Planner",
    icon: "M4 4v16h16M8 16l4-5 3 2 5-7M18 6h2v2",
    load: () => import("../views/planner/planner.ts"),
    render: () => html`<ringside-planner></ringside-planner>`,
    whole: true,
  },
  {
    id: "remote",
    title: "Remote",
    icon: "M4 4h16v6H4zM4 14h16v6H4zM8 7h.01M8 17h.01M12 7h5M12 17h5",
    load: () => import("../views/remote/remote.ts"),
    render: (page) => html`<ringside-remote .page=${page}></ringside-remote>`,
    whole: true,
  },
  {
    id: "shaders",
    title: "Shaders",
    icon: "M8 6l-5 6 5 6M16 6l5 6-5 6M14 4l-4 16",
    load: () => import("../views/shaders/shaders.ts"),
    render: () => html`<ringside-shaders></ringside-shaders>`,
    whole: true,
  },
  {
    id: "learn",
    title: "Learn",
    icon: "M12 6C10 4.5 7 4 3 4v14c4 0 7 .5 9 2c2-1.5 5-2 9-2V4c-4 0-7 .5-9 2v14",
    load: () => import("../views/learn/learn.ts"),
    render: () => html`<ringside-learn></ringside-learn>`,
    whole: true,
  },
];
