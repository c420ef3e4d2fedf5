// The bundle of itables goes into the page once, whichever table brings it; without it, the plain table stays.
const read = packed => new Response(new Blob([Uint8Array.from(atob(packed), letter => letter.charCodeAt(0))])
  .stream().pipeThrough(new DecompressionStream("gzip"))).text();
window.nbextTables ??= (async () => {
  const style = document.createElement("style");
  style.textContent = await read("PACKED_STYLE");
  document.head.prepend(style);
  const source = await read("PACKED_SCRIPT");
  return import(URL.createObjectURL(new Blob([source], {type: "text/javascript"})));
})();
const {ITable, set_or_remove_dark_class} = await window.nbextTables;
set_or_remove_dark_class();
document.querySelectorAll(".nbext-table.long").forEach(box => {
  box.classList.remove("long");
  box.style.maxHeight = "none";
  new ITable(box.querySelector("table"), {order: [], pageLength: 25, lengthMenu: [10, 25, 50, 100], autoWidth: false});
});
