// The library for long tables, for all outputs of the notebook; whichever output brings it, it is read once.
window.nbextLibrary ??= {};
const shelf = window.nbextLibrary;
shelf.promise ??= new Promise(resolve => { shelf.resolve = resolve; });
const read = packed => new Response(new Blob([Uint8Array.from(atob(packed), letter => letter.charCodeAt(0))])
  .stream().pipeThrough(new DecompressionStream("gzip"))).text();
if (!shelf.isRead) {
  shelf.isRead = true;
  const style = document.createElement("style");
  style.textContent = await read("PACKED_STYLE");
  document.head.prepend(style);
  const source = await read("PACKED_SCRIPT");
  shelf.resolve(import(URL.createObjectURL(new Blob([source], {type: "text/javascript"}))));
}
