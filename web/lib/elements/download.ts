/** Saves a text or bytes as a file. */

/** Downloads `content` as a file named `name`. */
export function download(name: string, content: string | Uint8Array<ArrayBuffer>, type = "application/json"): void {
  const address = URL.createObjectURL(new Blob([content], { type }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  // The download reads the address after the click has returned.
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
