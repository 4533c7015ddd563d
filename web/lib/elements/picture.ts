/** Pictures of the page as files: SVG that contains the page's styles, and PNG made from it. */
import { download } from "./download.ts";

const kept = [
  "fill",
  "fill-opacity",
  "stroke",
  "stroke-width",
  "stroke-opacity",
  "stroke-dasharray",
  "stroke-linejoin",
  "stroke-linecap",
  "paint-order",
  "font-size",
  "font-weight",
  "text-anchor",
  "opacity",
] as const;
const gap = 24;

/** Pictures side by side as one SVG, with the page's styles in each element, its background, and a caption below. */
export function svgText(charts: readonly SVGSVGElement[], title: string, caption: readonly string[]): string {
  const boxes = charts.map((chart) => chart.getBoundingClientRect());
  const width = boxes.reduce((sum, box) => sum + box.width, gap * (charts.length - 1));
  const height = Math.max(...boxes.map((box) => box.height)) + 8 + 16 * caption.length + 8;
  const page = getComputedStyle(document.documentElement);
  const whole = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  whole.setAttribute("viewBox", `0 0 ${width} ${height}`);
  whole.setAttribute("width", String(width));
  whole.setAttribute("height", String(height));
  whole.setAttribute("font-family", page.fontFamily);
  whole.innerHTML = `<title></title><rect width="100%" height="100%"></rect>`;
  whole.querySelector("title")!.textContent = title;
  whole.querySelector("rect")!.setAttribute("fill", page.backgroundColor);
  let x = 0;
  charts.forEach((chart, i) => {
    const copy = styled(chart);
    copy.setAttribute("x", String(x));
    copy.setAttribute("width", String(boxes[i].width));
    copy.setAttribute("height", String(boxes[i].height));
    if (!copy.hasAttribute("viewBox")) copy.setAttribute("viewBox", `0 0 ${boxes[i].width} ${boxes[i].height}`);
    whole.append(copy);
    x += boxes[i].width + gap;
  });
  const top = Math.max(...boxes.map((box) => box.height)) + 20;
  const ink = getComputedStyle(charts[0].querySelector("text") ?? charts[0]);
  caption.forEach((line, i) => {
    whole.insertAdjacentHTML("beforeend", `<text x="8" y="${top + 16 * i}" font-size="11"></text>`);
    whole.lastElementChild!.textContent = line;
    whole.lastElementChild!.setAttribute("fill", page.color || ink.color);
  });
  return new XMLSerializer().serializeToString(whole).replaceAll(/<!--.*?-->/g, "");
}

/** A copy of a picture that looks the same without the page's style sheets. */
function styled(chart: SVGSVGElement): SVGSVGElement {
  const copy = chart.cloneNode(true) as SVGSVGElement;
  const from = [chart, ...chart.querySelectorAll<SVGElement>("*")];
  const to = [copy, ...copy.querySelectorAll<SVGElement>("*")];
  from.forEach((element, i) => {
    const style = getComputedStyle(element);
    for (const name of kept) to[i].style.setProperty(name, style.getPropertyValue(name));
    for (const name of ["class", "tabindex", "role", "aria-hidden"]) to[i].removeAttribute(name);
  });
  from.forEach((element, i) => element.matches(".hit, .focus") && to[i].remove());
  return copy;
}

/** An SVG's text as a PNG, with `scale` by `scale` pixels for each of the SVG's. */
export async function pngOf(text: string, scale = 2): Promise<Uint8Array<ArrayBuffer>> {
  const address = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
  try {
    const image = new Image();
    image.src = address;
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = Math.round(image.naturalWidth * scale);
    canvas.height = Math.round(image.naturalHeight * scale);
    canvas.getContext("2d")!.drawImage(image, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, "image/png"));
    if (blob === null) {
      throw new Error(
        `The browser made no PNG of ${canvas.width} × ${canvas.height} pixels. Save the SVG instead.`,
      );
    }
    return new Uint8Array(await blob.arrayBuffer());
  } finally {
    URL.revokeObjectURL(address);
  }
}

/** Saves an SVG's text as NAME.svg or NAME.png. */
export async function savePicture(name: string, kind: "svg" | "png", text: string): Promise<void> {
  if (kind === "svg") download(`${name}.svg`, text, "image/svg+xml");
  else download(`${name}.png`, await pngOf(text), "image/png");
}
