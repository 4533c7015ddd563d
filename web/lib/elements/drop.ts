/** Takes files that somebody drops anywhere on the page. */
import type { ReactiveControllerHost } from "lit";
import { follow } from "./follow.ts";

/** While the element is on the page: `over` hears whether files are dragged over it, `take` gets those dropped. */
export function takeDroppedFiles(
  host: ReactiveControllerHost,
  over: (over: boolean) => void,
  take: (files: readonly File[]) => void,
): void {
  const holdsFiles = ({ dataTransfer }: DragEvent) => dataTransfer?.types.includes("Files") === true;
  const listen = (names: readonly string[], act: (event: DragEvent) => void) =>
    follow(host, () => window, names, (event) => act(event as DragEvent));
  listen(["dragenter", "dragover"], (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    event.dataTransfer!.dropEffect = "copy";
    over(true);
  });
  // A related target is another element of the page: the files are still over it.
  listen(["dragleave"], ({ relatedTarget }) => relatedTarget === null && over(false));
  listen(["drop"], (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    over(false);
    take([...event.dataTransfer!.files]);
  });
}
