// The panel in the browser. It shows what it is given, keeps what is selected and typed, and sends what is clicked:
// what a click means is decided in Python. Nodes are kept by key, so focus and scroll position survive every update.

const FRESH = 500; // ms in which a control that has just appeared, or moved, ignores clicks
const PATIENCE = 1500; // ms until a message without an answer means that the kernel is busy or gone
const ENDED = "The kernel has ended or was restarted, and its panel with it. Run %cancel_panel again.";
const SILENT = "No answer from the kernel yet. It may be busy; if it was restarted, run %cancel_panel again.";
const TITLES = {
  order: "Order", symbol: "Symbol", side: "Side", type: "Type", price: "Price", trigger: "Trigger",
  quantity: "Quantity", filled: "Filled", distance: "From last", age: "Age", client: "Client id",
};
const NUMBERS = new Set(["price", "trigger", "quantity", "distance", "age"]);
const GLYPHS = { BUY: "▲", SELL: "▼" };
const AGES = Object.entries({ 60: "1 min", 900: "15 min", 3600: "1 h", 21600: "6 h", 86400: "1 day", 604800: "1 week" });
let panels = 0;

function make(tag, attributes = {}, ...kids) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  // The notebook's shortcuts would take arrows, Esc and letters. They look for this on the focused element only.
  if (["input", "select", "button", "summary"].includes(tag)) node.dataset.lmSuppressShortcuts = "true";
  if (tag === "button") node.type = "button";
  node.append(...kids);
  return node;
}

// Rows of two or three lines, as in a narrow panel, are rows for a reader of the page only if they say so.
const line = (...cells) => make("tr", { role: "row" }, ...cells);
const cellOf = (attributes = {}, ...kids) => make("td", { role: "gridcell", ...attributes }, ...kids);

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Write a word with a sign before it, which is not read out. */
function mark(node, sign, word) {
  if (node.textContent === `${sign} ${word}`) return;
  node.replaceChildren(make("span", { "aria-hidden": "true" }, sign), ` ${word}`);
}

function options(select, pairs) {
  if (select.dataset.pairs === JSON.stringify(pairs)) return;
  select.dataset.pairs = JSON.stringify(pairs);
  select.replaceChildren(...pairs.map(([value, text]) => make("option", { value }, text)));
}

function age(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86400)} d`;
}

function count(number) {
  return `${number} order${number === 1 ? "" : "s"}`;
}

function render({ model, el, signal }) {
  panels += 1;
  const send = sender(model);
  const rows = () => model.get("rows");
  const status = () => model.get("status");
  const on = (node, type, act) => node.addEventListener(type, act, { signal });

  // What there is.
  const badge = { word: make("b"), meaning: make("span"), where: make("span", { class: "where" }) };
  const symbols = make("datalist", { id: `nbext-symbols-${Date.now()}-${panels}` });
  const symbol = make("input", { size: 12, list: symbols.id, placeholder: "all", autocomplete: "off", spellcheck: "false" });
  const filters = {
    side: make("select"),
    type: make("select"),
    client: make("input", { size: 9, autocomplete: "off", spellcheck: "false" }),
    age: make("select"),
  };
  const auto = make("input", { type: "checkbox" });
  const ladder = make("input", { type: "checkbox" });
  const pace = make("span");
  const refresh = make("button", {}, "Refresh");
  const all = make("input", { type: "checkbox", "aria-label": "select all shown" });
  const head = line();
  const body = make("tbody", { role: "rowgroup" });
  const table = make("table", { role: "grid", "aria-multiselectable": "true" }, make("thead", { role: "rowgroup" }, head), body);
  const box = make("div", { class: "orders" }, table);
  const sentence = make("span", { role: "status" });
  const number = make("input", { size: 4, inputmode: "numeric", autocomplete: "off" });
  const wanted = make("span");
  const type = make("label", { hidden: "" }, wanted, number);
  const hint = make("span", { class: "hint" });
  const selected = make("button", { class: "act first" });
  const keep = make("button", { class: "first", hidden: "" }, "Keep them");
  const yes = make("button", { class: "go middle", hidden: "" });
  const everything = make("button", { class: "act last" });
  const foot = make("div", { class: "foot" }, make("div", { class: "say" }, sentence, type, hint), selected, keep, yes, everything);
  const notes = make("div", { class: "notes", role: "status" });
  const picture = make("div", { class: "picture" });
  const recent = make("tbody");
  const label = (text, node) => make("label", {}, `${text} `, node);
  el.classList.add("nbext-panel");
  el.tabIndex = -1; // a click between controls leaves the focus here, so Esc still reaches the question
  el.dataset.lmSuppressShortcuts = "true";
  const narrowing = [label("Side", filters.side), label("Type", filters.type)];
  narrowing.push(label("Client id begins", filters.client), label("Older than", filters.age));
  const view = [make("label", {}, auto, " auto-refresh ", pace), make("label", {}, ladder, " ladder"), refresh];
  const heads = ["Sent (local time)", "Request", "Orders", "State"].map((text) => make("th", { scope: "col" }, text));
  const calls = make("table", {}, make("thead", {}, make("tr", {}, ...heads)), recent);
  const scroll = make("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Recent cancels" }, calls);
  el.append(
    make("div", { class: "badge" }, badge.word, badge.meaning, badge.where),
    make("div", { class: "bar" }, label("Symbol", symbol), symbols, ...narrowing, make("span", { class: "view" }, ...view)),
    box, foot, notes, picture,
    make("details", {}, make("summary", {}, "Recent cancels on this exchange"), scroll),
  );
  options(filters.side, [["", "any"], ["BUY", "BUY"], ["SELL", "SELL"]]);
  options(filters.age, [["", "any age"], ...AGES]);

  // What is kept in between.
  const units = new Map(); // key -> the rows of a unit
  const since = new WeakMap(); // control -> when it appeared
  let [titles, order, width] = ["", "", 0];
  let moved = -FRESH;
  let anchor = null;
  let current = null; // where the one control of the table is that Tab reaches: "all", or a key
  let question = null; // the number of the question that is shown
  let asker = null;
  let [isEnded, isSilent, unanswered] = [false, false, null];

  const post = (message) => {
    send(message);
    unanswered ??= setTimeout(() => {
      isSilent = true;
      changed();
    }, PATIENCE);
  };
  const heard = () => {
    clearTimeout(unanswered);
    unanswered = null;
    if (isSilent) changed(); // otherwise nothing looks different
    isSilent = false;
  };
  const ended = () => {
    isEnded = true;
    changed();
  };

  const fresh = (node) => performance.now() - (since.get(node) ?? -FRESH) < FRESH;
  const isOff = (node) => node.getAttribute("aria-disabled") === "true" || fresh(node);
  const show = (node, visible) => {
    if (node.hidden === !visible) return;
    node.hidden = !visible;
    since.set(node, performance.now());
  };
  const press = (node, act) =>
    on(node, "click", () => {
      if (!isOff(node)) act();
    });
  const set = (name, value) => {
    model.set(name, value);
    model.save_changes();
  };

  // What is meant: selected and shown.
  const fits = (each, { side, type, client, age }) =>
    (!side || each.side === side) &&
    (!type || each.type === type) &&
    (!client || each.client.startsWith(client)) &&
    (!age || (each.placed !== null && status().clock - each.placed >= age * 1000));
  const shown = () => rows().filter((unit) => unit.orders.some((each) => fits(each, model.get("filters"))));
  const live = () => shown().filter((unit) => unit.live);
  const meant = () => live().filter((unit) => model.get("picked").includes(unit.key));
  const orders = (list) => list.reduce((sum, unit) => sum + unit.live, 0);
  const isNarrowed = () => Object.values(model.get("filters")).some(Boolean);
  const keys = (list) => list.map((unit) => unit.key);

  const pick = (list, want) => {
    const picked = new Set(model.get("picked"));
    for (const key of list) want ? picked.add(key) : picked.delete(key);
    set("picked", [...picked]);
  };
  const range = (from, to) => {
    const list = keys(live());
    const ends = [list.includes(from) ? list.indexOf(from) : list.indexOf(to), list.indexOf(to)].sort((a, z) => a - z);
    return list.slice(ends[0], ends[1] + 1);
  };
  const standing = (rung) => {
    const ids = rung.dataset.orderIds.split(" ");
    const { symbol } = rung.closest("table").dataset;
    return keys(live().filter((unit) => unit.symbol === symbol && unit.orders.some((each) => ids.includes(each.order))));
  };
  const ask = (node, list, of = {}) => {
    asker = node;
    moved = performance.now(); // the second half of a double click asks nothing
    for (const each of [selected, everything]) since.set(each, moved);
    post({ do: "ask", keys: keys(list), ...of });
  };
  const confirm = () => {
    const after = (performance.now() - since.get(yes)) / 1000; // seconds since the question appeared
    if (!isOff(yes)) post({ do: "confirm", question, typed: number.value, after });
  };

  press(refresh, () => post({ do: "refresh" }));
  press(selected, () => ask(selected, meant()));
  press(everything, () => (isNarrowed() ? ask(everything, live()) : ask(everything, live(), { everything: true })));
  press(keep, () => post({ do: "keep" }));
  press(yes, confirm);
  on(number, "keydown", (event) => {
    if (event.key === "Enter" && !event.repeat) confirm();
  });
  on(el, "keydown", (event) => {
    if (event.key === "Enter" && event.repeat && event.target.matches("button")) event.preventDefault();
    if (event.key !== "Escape" || question === null) return;
    event.preventDefault();
    event.stopPropagation();
    post({ do: "keep" });
  });
  const turnTo = () => {
    box.style.minHeight = "";
    if (symbol.value !== model.get("symbol")) set("symbol", symbol.value);
  };
  on(symbol, "change", turnTo);
  on(symbol, "keydown", ({ key }) => {
    if (key === "Enter") turnTo(); // in JupyterLab, Enter changes nothing by itself
  });
  for (const [name, node] of Object.entries(filters)) {
    on(node, "input", () => {
      box.style.minHeight = "";
      set("filters", { ...model.get("filters"), [name]: name === "age" ? Number(node.value) : node.value });
    });
  }
  on(window, "resize", () => changed());
  on(auto, "change", () => set("auto_refresh", auto.checked));
  on(ladder, "change", () => set("ladder", ladder.checked));
  on(all, "change", () => pick(keys(live()), all.checked));

  on(picture, "click", ({ target }) => {
    const rung = target.closest("tr[data-order-ids]");
    const list = rung ? standing(rung) : [];
    if (list.length) pick(list, !list.every((key) => model.get("picked").includes(key)));
  });

  // The table: click, Shift and click, Space, arrows.
  on(body, "click", ({ target, shiftKey }) => {
    const key = target.closest("tr")?.dataset.unit;
    if (target.matches("input")) {
      pick(shiftKey ? range(anchor, key) : [key], target.checked);
      anchor = key;
    } else if (target.matches("button") && performance.now() - moved >= FRESH && !isOff(target)) {
      ask(target, live().filter((unit) => unit.key === key));
    }
  });
  on(table, "focusin", ({ target }) => {
    current = target === all ? "all" : (target.closest("tr")?.dataset.unit ?? current);
    tabs();
  });
  on(table, "keydown", (event) => {
    const { key, target, shiftKey } = event;
    const stops = ["all", ...keys(live())];
    const at = target === all ? 0 : stops.indexOf(target.closest("tr")?.dataset.unit);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 1, End: stops.length - 1 }[key];
    if (key === "ArrowRight" || key === "ArrowLeft") {
      target.closest("tr").querySelector(key === "ArrowRight" ? "button" : "input")?.focus();
    } else if (to === undefined) return;
    else {
      const next = stops[Math.max(0, Math.min(stops.length - 1, to))];
      if (shiftKey && at > 0 && next !== "all") pick(range(anchor ?? stops[at], next), true);
      else anchor = next;
      (next === "all" ? all : units.get(next)[0].querySelector(target.matches("button") ? "button" : "input")).focus();
    }
    event.preventDefault();
  });

  const tabs = () => {
    const list = keys(live());
    const at = list.includes(current) || current === "all" ? current : (list[0] ?? "all");
    for (const node of table.querySelectorAll("input, button")) node.tabIndex = -1;
    const row = at === "all" ? null : units.get(at)[0];
    const stop = row?.contains(document.activeElement) ? document.activeElement : (row?.querySelector("input") ?? all);
    stop.tabIndex = 0;
    return stop;
  };

  function cell(name, each, unit) {
    if (name === "age") return each.placed === null ? "" : age(status().clock - each.placed);
    if (name === "filled") return each.pending ? "pending" : each.executed ? `${each.filled} %` : "–";
    if (name === "symbol") return unit.symbol;
    if (name === "side") return `${GLYPHS[each.side] ?? ""} ${each.side}`;
    return each[name];
  }

  const kind = (name) => `${name}${NUMBERS.has(name) ? " number" : ""}`;
  const title = (of, text) => make("th", { scope: "col", role: "columnheader", class: of }, text);

  function fill(td, name, text, each) {
    if (td.textContent === text) return;
    if (name === "filled" && each.filled) {
      const bar = make("i");
      bar.style.width = `${Math.min(each.filled, 100)}%`;
      td.replaceChildren(make("span", { class: "meter", "aria-hidden": "true" }, bar), text);
    } else if (name === "side") mark(td, GLYPHS[each.side] ?? "", each.side);
    else write(td, text);
    if (name === "client") td.title = text;
  }

  function build(unit, names) {
    const box = () => cellOf({}, make("input", { type: "checkbox", "aria-label": `select ${unit.name}` }));
    const outcome = () => make("span", { hidden: "" });
    const last = () => cellOf({}, outcome(), make("button", { class: "cross", "aria-label": `Cancel ${unit.name}` }, "✕"));
    const cells = () =>
      names.map((name) =>
        name === "order" ? make("th", { scope: "row", role: "rowheader", class: name }) : cellOf({ class: kind(name) }),
      );
    if (!unit.list) return [line(box(), ...cells(), last())];
    const named = { scope: "row", role: "rowheader", class: "named", colspan: names.length };
    const title = make("th", named, make("span"), " ", make("span", { class: "dim" }));
    return [line(box(), title, last()), ...unit.orders.map(() => line(cellOf(), ...cells(), cellOf({}, outcome())))];
  }

  function update(unit, lines, names, isShown, isPicked, isAsked) {
    const isGone = !unit.live;
    if (unit.list) {
      write(lines[0].children[1].firstChild, unit.name);
      write(lines[0].children[1].lastChild, unit.about);
    }
    lines.forEach((tr, place) => {
      const each = unit.list ? unit.orders[place - 1] : unit.orders[place];
      const kind = unit.list ? (each ? "leg" : "list") : "single";
      const ended = each ? each.outcome && each.outcome !== "unknown" : isGone;
      tr.dataset.unit = unit.key;
      tr.className = [kind, each?.pending && "pending", each?.outcome && "told", ended && "gone", (isPicked || isAsked) && !isGone && "picked"]
        .filter(Boolean)
        .join(" ");
      tr.hidden = !isShown;
      if (!each) return;
      names.forEach((name, column) => {
        const td = tr.children[column + 1];
        fill(td, name, cell(name, each, unit), each);
        if (name === "side") td.className = `side ${each.side}`;
      });
      const outcome = tr.lastChild.firstChild;
      outcome.hidden = !each.outcome;
      outcome.className = `outcome ${each.outcome}`;
      mark(outcome, each.glyph, each.outcome);
    });
    const input = lines[0].querySelector("input");
    input.checked = isPicked && !isGone;
    input.hidden = isGone;
    lines[0].querySelector("button").hidden = isGone;
    lines[0].setAttribute("aria-selected", input.checked);
  }

  function paintTable() {
    const several = new Set(rows().map((unit) => unit.symbol)).size > 1;
    table.classList.toggle("several", several);
    const names = Object.keys(TITLES).filter((name) => name !== "symbol" || several);
    if (titles !== names.join()) {
      titles = names.join();
      head.replaceChildren(
        title("", all),
        ...names.map((name) => title(kind(name), TITLES[name])),
        title("", "Outcome"),
      );
      body.replaceChildren();
      units.clear();
    }
    if (width !== el.clientWidth) box.style.minHeight = "";
    width = el.clientWidth;
    const focused = table.contains(document.activeElement) ? document.activeElement : null;
    const seen = new Map(rows().map((unit) => [unit.key, unit]));
    for (const [key, lines] of units) {
      if (seen.has(key) && lines.length === seen.get(key).orders.length + (seen.get(key).list ? 1 : 0)) continue;
      for (const tr of lines) tr.remove();
      units.delete(key);
    }
    const visible = new Set(keys(shown()));
    const picked = new Set(model.get("picked"));
    const asked = new Set(status().question?.keys);
    let place = body.firstChild; // a node that is moved loses its focus: remove first, move only what is out of order
    for (const unit of rows()) {
      const lines = units.get(unit.key) ?? build(unit, names);
      units.set(unit.key, lines);
      update(unit, lines, names, visible.has(unit.key), picked.has(unit.key), asked.has(unit.key));
      for (const tr of lines) {
        if (tr === place) place = place.nextSibling;
        else body.insertBefore(tr, place);
      }
    }
    if (order !== JSON.stringify([...visible])) {
      order = JSON.stringify([...visible]);
      moved = performance.now();
    }
    const some = meant().length;
    all.checked = some > 0 && some === live().length;
    all.indeterminate = some > 0 && some < live().length;
    table.setAttribute("aria-label", `Open orders on ${status().subject}`);
    const stop = tabs();
    if (focused && focused !== document.activeElement) (focused.isConnected && !focused.hidden ? focused : stop).focus({ preventScroll: true });
    box.style.minHeight = `${Math.max(Number.parseFloat(box.style.minHeight) || 0, Math.floor(box.offsetHeight))}px`;
  }

  function paintFoot() {
    const { busy, ready, subject, question: open, summary, problem } = status();
    const dead = isEnded ? ENDED : isSilent ? SILENT : "";
    const asked = dead ? null : open;
    const some = orders(meant());
    write(selected, some ? `Cancel ${count(some)}` : "Cancel selected");
    const every = orders(live());
    const on = model.get("symbol") ? ` on ${subject}` : "";
    write(everything, isNarrowed() ? `Cancel ${every} shown` : on ? `Cancel all ${every || ""}${on}`.replace("  ", " ") : "Cancel all: name a symbol");
    const off = Boolean(dead || busy) || !ready;
    refresh.setAttribute("aria-disabled", isEnded);
    for (const node of [symbol, auto, ladder]) node.disabled = isEnded;
    el.classList.toggle("ended", isEnded);
    selected.setAttribute("aria-disabled", off || !some);
    everything.setAttribute("aria-disabled", off || !every || !(on || isNarrowed()));
    for (const cross of body.querySelectorAll("button")) cross.setAttribute("aria-disabled", off);
    if (asked?.number !== question) turn(asked);
    write(sentence, dead || (asked ? asked.sentence : busy || problem || summary));
    write(hint, asked ? [asked.news, asked.detail, asked.type ? "Enter confirms, Esc keeps them." : "Esc keeps them."].filter(Boolean).join(" · ") : "");
    foot.classList.toggle("asking", Boolean(asked));
    foot.classList.toggle("problem", Boolean(dead || (problem && !asked && !busy)));
  }

  /** Put a question in place of the buttons, or the buttons in place of a question. */
  function turn(asked) {
    const active = document.activeElement;
    const isHere = el.contains(active);
    question = asked?.number ?? null;
    for (const node of [keep, yes]) {
      show(node, Boolean(asked));
      since.set(node, performance.now());
    }
    for (const node of [selected, everything]) show(node, !asked);
    type.hidden = !asked?.type;
    number.value = "";
    if (asked) {
      write(yes, asked.confirm);
      write(wanted, `Type ${asked.type}: `);
      if (isHere || asker) (asked.type ? number : keep).focus();
    } else if (isHere && (foot.contains(active) || active === document.body)) {
      (asker?.isConnected && !asker.hidden ? asker : selected).focus();
    }
  }

  function paint() {
    const { exchange, symbols: known, notes: lines, mood, read, pace: how } = status();
    el.dataset.exchange = exchange.kind;
    write(badge.word, exchange.word);
    write(badge.meaning, exchange.meaning);
    write(badge.where, [exchange.where, read && `read at ${read}`].filter(Boolean).join(" · "));
    options(symbols, known.map((each) => [each, each]));
    if (document.activeElement !== symbol) symbol.value = model.get("symbol");
    const chosen = model.get("filters");
    const types = [...new Set([...rows().flatMap((unit) => unit.orders.map((each) => each.type)), chosen.type ?? ""])];
    options(filters.type, [["", "any"], ...types.filter(Boolean).sort().map((each) => [each, each])]);
    for (const [name, node] of Object.entries(filters)) {
      if (document.activeElement !== node || node.tagName === "SELECT") node.value = chosen[name] || "";
    }
    auto.checked = model.get("auto_refresh");
    ladder.checked = model.get("ladder");
    write(pace, how);
    paintTable();
    paintFoot();
    notes.className = `notes ${mood}`;
    write(notes, lines.join("\n"));
    if (picture.dataset.shown !== model.get("picture")) {
      picture.dataset.shown = model.get("picture");
      picture.innerHTML = model.get("picture"); // made by Python, where everything an exchange sent was escaped
      for (const node of picture.querySelectorAll("button")) node.dataset.lmSuppressShortcuts = "true";
    }
    for (const rung of picture.querySelectorAll("tr[data-order-ids]")) {
      const isPicked = standing(rung).some((key) => model.get("picked").includes(key));
      rung.classList.toggle("selected", isPicked);
      rung.querySelector("button")?.setAttribute("aria-pressed", isPicked);
    }
    recent.replaceChildren(...model.get("recent").map((call) => make("tr", {}, ...call.map((text) => make("td", {}, text)))));
  }

  let isDue = false;
  const changed = () => {
    if (isDue) return;
    isDue = true;
    queueMicrotask(() => {
      isDue = false;
      if (!signal?.aborted) paint();
    });
  };
  const events = ["symbol", "auto_refresh", "ladder", "rows", "picked", "filters", "status", "recent", "picture"];
  for (const name of events) model.on(`change:${name}`, changed);
  model.on("msg:custom", heard);
  model.on("comm_live_update", ended);
  paint();
  post({ do: "greet" }); // a notebook that keeps the state of widgets shows panels whose kernel ended long ago
  return () => {
    clearTimeout(unanswered);
    for (const name of events) model.off(`change:${name}`, changed);
    model.off("msg:custom", heard);
    model.off("comm_live_update", ended);
  };
}

export default { render };
