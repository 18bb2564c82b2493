// Draws the steps of one run, or of two runs side by side: dsldecTraceView.mount(element, data).
// Texts of models and users become text nodes only, never markup. The explanations are written by Python; this
// file puts their values into the places. Offsets into the policy's text count UTF-16 units.
"use strict";

globalThis.dsldecTraceView = (() => {
  const COLOURS = [
    ["confidence", "confidence"],
    ["entropy", "entropy"],
    ["step", "step of writing"],
    ["phase", "phase"],
    ["none", "nothing"],
  ];
  const SPEEDS = [[1, "1 step/s"], [4, "4 steps/s"], [12, "12 steps/s"], [40, "40 steps/s"]];
  const ROWS = [32, 16, 8, 4]; // positions in a row of the canvas: the most that fit
  const WIDEST = 24; // characters of a token for which its cell keeps room
  const SNAPSHOT = 32; // steps between two stored canvases
  const PHASE_COLOURS = 7;
  const DONE = { committed: "committed", revoked: "revoked", edited: "edited" };
  let views = 0;

  // --- elements

  function make(name, attributes, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) {
      if (value === false || value === null || value === undefined) continue;
      if (key === "class") made.className = value;
      else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
      else made.setAttribute(key, value === true ? "" : value);
    }
    made.append(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false));
    return made;
  }

  function plural(count, noun) {
    return `${count} ${noun}${count === 1 ? "" : "s"}`;
  }

  // Python's str.format with `{}`, `{{` and `}}` alone.
  function filled(template, values) {
    let next = 0;
    return template.replace(/\{\{|\}\}|\{\}/g, (place) => (place === "{}" ? values[next++] : place[0]));
  }

  function holes(template) {
    return (template.match(/\{\{|\}\}|\{\}/g) || []).filter((place) => place === "{}").length;
  }

  // The width of a text in characters of a terminal.
  function columns(text) {
    return [...text].reduce((sum, one) => sum + (one.codePointAt(0) >= 0x1100 ? 2 : 1), 0);
  }

  function written(value, flag) {
    if (value === null || value === undefined) return "no value";
    if (flag || typeof value === "boolean") return value && value !== "0" ? "yes" : "no";
    return String(value);
  }

  // --- the steps of one run

  class Run {
    constructor(data) {
      Object.assign(this, data);
      this.count = data.steps.length;
      this.hasValues = data.steps.some((step) => step.values);
      this.ends = []; // for each number of forwards, the number of steps that are done
      data.steps.forEach((step, number) => { this.ends[step.forward] = number + 1; });
      this.ends.unshift(0);
      for (let at = 1; at < this.ends.length; at++) this.ends[at] = this.ends[at] ?? this.ends[at - 1];
      this.isGiven = new Set(data.given.map(([at]) => at));
      this.snapshots = [this.first()];
      this.mostEntropy = Math.max(
        1e-9, ...data.steps.map((step) => Math.max(0, ...step.writes.map((write) => write[3] ?? 0))));
      this.entropyName = data.names.findIndex((name) => name[0] === "entropy" && name[2]);
      data.steps.forEach((step) => {
        if (step.someWhys) step.whys = Object.fromEntries(step.someWhys);
        step.candidatesAt = (at) => (step.window && step.candidates[at - step.window[0]]) || [];
      });
    }

    first() {
      const ids = new Array(this.length).fill(null);
      for (const [at, id] of this.given) ids[at] = id;
      return { ids, writes: new Array(this.length).fill(null) };
    }

    // The canvas after this number of steps.
    canvas(done) {
      const nearest = Math.min(Math.floor(done / SNAPSHOT), this.snapshots.length - 1);
      const from = this.snapshots[nearest];
      const canvas = { ids: [...from.ids], writes: [...from.writes] };
      for (let number = nearest * SNAPSHOT; number < done; number++) {
        const step = this.steps[number];
        for (const [at] of step.revoked) { canvas.ids[at] = null; canvas.writes[at] = null; }
        for (const write of step.writes) {
          canvas.ids[write[0]] = write[1];
          canvas.writes[write[0]] = { step: number, confidence: write[2], entropy: write[3], before: write[4] };
        }
        if ((number + 1) % SNAPSHOT === 0 && this.snapshots.length === (number + 1) / SNAPSHOT) {
          this.snapshots.push({ ids: [...canvas.ids], writes: [...canvas.writes] });
        }
      }
      return canvas;
    }

    // What a step did at each position that it touched.
    changes(number) {
      const changes = new Map();
      if (number < 0 || number >= this.count) return changes;
      const step = this.steps[number];
      for (const write of step.writes) changes.set(write[0], write.length > 4 ? "edited" : "committed");
      for (const [at] of step.revoked) changes.set(at, "revoked");
      return changes;
    }

    // The most characters that each position ever shows, so that no cell moves when the steps go on.
    widths() {
      const widths = new Array(this.length).fill(1); // "end" is smaller than other texts
      const keep = (at, id, more = 0) => { widths[at] = Math.min(WIDEST, Math.max(widths[at], (id === null ? 1 : id === this.eos ? 2.4 : columns(this.short(id))) + more)); };
      this.given.forEach(([at, id]) => keep(at, id));
      this.steps.forEach((step, number) => {
        const struck = new Map([...step.revoked, ...(step.refused || [])]);
        for (const [at, id, , , before] of step.writes) {
          keep(at, id, (struck.has(at) ? this.room(struck.get(at)) : this.room(before)) + (this.isAccepted(number) ? 1 : 0));
          struck.delete(at);
        }
        for (const [at, id] of struck) keep(at, null, this.room(id));
      });
      return widths;
    }

    // The characters that a struck token takes.
    room(id) {
      return id === null || id === undefined ? 0 : columns(this.short(id)) + 1;
    }

    // Which marks the canvas ever has.
    marks() {
      const some = (test) => this.steps.some(test);
      return {
        end: some((step) => step.writes.some((write) => write[1] === this.eos)),
        given: this.given.length > 0, edited: some((step) => step.writes.some((write) => write.length > 4)),
        revoked: some((step) => step.revoked.length), accepted: some((_, at) => this.isAccepted(at)),
        refused: some((step) => step.refused && step.refused.length), window: some((step) => this.windowOf(step)),
      };
    }

    // The window of a step; `null` for one that has the whole canvas.
    windowOf(step) {
      const window = step && step.window;
      return window && window[1] - window[0] < this.length ? window : null;
    }

    isAccepted(number) {
      return number > 0 && this.steps[number].forward === this.steps[number - 1].forward;
    }

    text(id) {
      if (id === null || id === undefined) return "";
      if (id === this.mask) return "MASK";
      return this.texts[id] ?? `#${id}`;
    }

    // The text of a token on the canvas: the end of the text is one short word, since a canvas may be full of it.
    short(id) {
      return id === this.eos ? "end" : id === this.mask ? "·" : this.seen(id);
    }

    // The text of a token for eyes: an empty one and blanks are visible.
    seen(id) {
      const text = this.text(id);
      return text === "" ? "∅" : /^ +$/.test(text) ? "␣".repeat(text.length) : text;
    }

    phaseOf(number) {
      return this.phases[this.steps[number].phase] || "";
    }

    explanation(number, at) {
      const step = this.steps[number];
      const cell = step && step.whys ? this.cells[step.whys[at]] : undefined;
      if (!cell) return null;
      const [head, outcome, lines] = this.forms[cell[0]];
      const values = cell.slice(1);
      return {
        head: filled(head, [at, number]),
        outcome,
        lines: lines.map(([depth, template, holds, decides, span]) => ({
          depth, holds, decides, span: this.spans[span], text: filled(template, values.splice(0, holes(template))),
        })),
      };
    }

    // The values with a name: `[name, place, value]`, those of a position or those of the step.
    values(number, at) {
      const step = this.steps[number];
      if (!step || !step.values) return [];
      const place = at === null ? 0 : at - step.window[0];
      if (at !== null && (at < step.window[0] || at >= step.window[1])) return [];
      return step.values
        .filter(([name]) => this.names[name][2] === (at !== null))
        .map(([name, value]) => [
          this.names[name][0], this.spans[this.names[name][1]],
          at === null ? written(value) : written(value[place], typeof value === "string"),
        ]);
    }

    entropyAt(number, at, write) {
      const step = this.steps[number];
      if (step && step.values && this.entropyName >= 0 && at >= step.window[0] && at < step.window[1]) {
        const found = step.values.find(([name]) => name === this.entropyName);
        if (found && typeof found[1][at - step.window[0]] === "number" && !(write && write.step < number)) {
          return found[1][at - step.window[0]];
        }
      }
      return write ? write.entropy : null;
    }
  }

  // --- the policy's text

  class PolicyText {
    constructor(run, prefix) {
      this.policy = run.policy;
      this.prefix = prefix;
      this.lines = [];
      this.element = make("div", { class: "policy", tabindex: "0", role: "region", "aria-label": `policy ${run.policy.name}` });
      let start = 0;
      this.policy.text.replace(/\n$/, "").split("\n").forEach((text, number) => {
        const code = make("code");
        this.lines.push({ start, end: start + text.length, code, element: make("div", { class: "line" }, make("span", { class: "number", "aria-hidden": "true" }, String(number + 1)), code) });
        start += text.length + 1;
      });
      this.element.append(...this.lines.map((line) => line.element));
      this.light([]);
    }

    // `places`: `{start, end, kind}`; later ones are drawn over earlier ones.
    light(places) {
      const { roles, text } = this.policy;
      let first = 0;
      for (const line of this.lines) {
        const here = places.filter((place) => place.start < line.end && place.end > line.start);
        const cuts = new Set([line.start, line.end]);
        while (first < roles.length && roles[first][1] <= line.start) first++;
        const own = [];
        for (let at = first; at < roles.length && roles[at][0] < line.end; at++) own.push(roles[at]);
        for (const [from, to] of own) { cuts.add(Math.max(from, line.start)); cuts.add(Math.min(to, line.end)); }
        for (const { start, end } of here) { cuts.add(Math.max(start, line.start)); cuts.add(Math.min(end, line.end)); }
        const sorted = [...cuts].sort((a, b) => a - b);
        line.code.replaceChildren(...sorted.slice(0, -1).map((from, index) => {
          const to = sorted[index + 1];
          const role = own.find((one) => one[0] <= from && one[1] >= to);
          const kinds = here.filter((one) => one.start <= from && one.end >= to).map((one) => `lit-${one.kind}`);
          const classes = [role ? `role-${role[2].replace(" ", "-")}` : "", ...new Set(kinds)].filter(Boolean);
          return classes.length ? make("span", { class: classes.join(" ") }, text.slice(from, to)) : text.slice(from, to);
        }));
        line.element.classList.toggle("has-lit", here.some((one) => one.kind !== "part"));
      }
    }

    // Moves the policy's own scroll bar, not the page, where the place is out of sight.
    scroll(start) {
      const line = this.lines.find((one) => one.end >= start);
      if (!line) return;
      const box = this.element, top = line.element.offsetTop;
      if (top < box.scrollTop || top > box.scrollTop + box.clientHeight - 60) box.scrollTop = top - box.clientHeight / 4;
    }

    show(span) {
      this.scroll(span[0]);
      const line = this.lines.find((one) => one.end >= span[0]);
      if (line) line.element.scrollIntoView({ block: "nearest" });
    }

    // The first and the last line of a phase: its header, and what is indented below.
    linesOf(phase) {
      const { roles, text } = this.policy;
      const head = roles.find(([from, to, role]) => role === "phase" && text.slice(from, to) === phase && /^[ ]*phase[ ]+$/.test(text.slice(text.lastIndexOf("\n", from) + 1, from)));
      if (!head) return null;
      const indent = (line) => text.slice(line.start, line.end).search(/\S/);
      const first = this.lines.findIndex((line) => line.end >= head[0]);
      let last = first;
      for (let at = first + 1; at < this.lines.length; at++) {
        const depth = indent(this.lines[at]);
        if (depth >= 0 && depth <= indent(this.lines[first])) break;
        if (depth >= 0) last = at;
      }
      return [first, last];
    }

    // Marks the lines of the phase that runs, and shows where they begin if it is another one.
    run(phase) {
      if (phase === this.phase) return;
      this.phase = phase;
      const found = phase ? this.linesOf(phase) : null;
      this.lines.forEach((line, at) => line.element.classList.toggle("running", found !== null && at >= found[0] && at <= found[1]));
      if (found) this.scroll(this.lines[found[0]].start);
    }
  }

  // --- the canvas of one run

  class Canvas {
    constructor(run, view, label) {
      Object.assign(this, { run, view, focused: 0, drawn: [] });
      this.cells = Array.from({ length: run.length }, (_, at) => make("div", { role: "gridcell", class: "cell", tabindex: at ? "-1" : "0", "data-position": at }));
      run.widths().forEach((width, at) => this.cells[at].style.setProperty("--chars", width));
      this.peek = make("div", { class: "peek", "aria-hidden": "true", hidden: true });
      this.grid = make("div", { role: "grid", class: "grid", "aria-label": label, "aria-readonly": "true" });
      this.element = make("div", { class: "canvas" }, this.grid, this.peek);
      this.fill(ROWS[1]);
      this.grid.addEventListener("keydown", (event) => this.onKey(event));
      this.grid.addEventListener("click", (event) => this.withCell(event, (at) => { this.focus(at); view.select(at); }));
      this.grid.addEventListener("mouseover", (event) => this.withCell(event, (at) => this.showPeek(at)));
      this.grid.addEventListener("focusin", (event) => this.withCell(event, (at) => { this.rove(at); if (event.target.matches(":focus-visible")) this.showPeek(at); }));
      this.grid.addEventListener("mouseleave", () => this.hidePeek());
      this.grid.addEventListener("focusout", () => this.hidePeek());
    }

    // Rows of as many positions as fit, a power of two. A few rows of long tokens may take two lines.
    layout() {
      const width = this.grid.clientWidth;
      if (!width || width === this.width) return;
      this.width = width;
      const hadFocus = this.grid.contains(document.activeElement);
      for (const size of ROWS) {
        if (size >= 2 * this.run.length && size > ROWS[ROWS.length - 1]) continue;
        this.fill(size);
        const rows = [...this.grid.querySelectorAll(".tokens")];
        const wrapped = rows.filter((row) => row.lastElementChild.offsetTop > row.firstElementChild.offsetTop + 4);
        if (wrapped.length * 8 <= rows.length) break;
      }
      if (hadFocus) this.cells[this.focused].focus({ preventScroll: true });
    }

    fill(size) {
      this.size = size;
      const rows = [];
      for (let at = 0; at < this.run.length; at += size) {
        const cells = this.cells.slice(at, at + size);
        const fillers = Array.from({ length: size - cells.length }, () => make("span", { class: "filler", "aria-hidden": "true" }));
        rows.push(make("div", { role: "row", class: "row" },
          make("span", { role: "rowheader", class: "from", "aria-label": `from position ${at}` }, String(at)),
          make("div", { class: "tokens", role: "none" }, cells, fillers)));
      }
      this.grid.replaceChildren(...rows);
    }

    // Moves the canvas's own scroll bar where none of these positions is in sight.
    reveal(positions) {
      const box = this.grid;
      if (!positions.length || box.scrollHeight <= box.clientHeight + 4) return;
      const tops = positions.map((at) => this.cells[at].offsetTop - box.offsetTop);
      if (!tops.some((top) => top >= box.scrollTop && top <= box.scrollTop + box.clientHeight - 30)) box.scrollTop = Math.min(...tops) - box.clientHeight / 4;
    }

    withCell(event, then) {
      const cell = event.target.closest("[data-position]");
      if (cell) then(Number(cell.dataset.position));
    }

    rove(at) {
      this.cells[this.focused].tabIndex = -1;
      this.focused = at;
      this.cells[at].tabIndex = 0;
    }

    focus(at) {
      this.rove(at);
      this.cells[at].focus({ preventScroll: true });
      this.cells[at].scrollIntoView({ block: "nearest" });
    }

    onKey(event) {
      if (event.ctrlKey && !["Home", "End"].includes(event.key)) return;
      const at = this.focused;
      const last = this.run.length - 1;
      const target = {
        ArrowLeft: at - 1, ArrowRight: at + 1, ArrowUp: this.above(at, -1), ArrowDown: this.above(at, 1),
        Home: event.ctrlKey ? 0 : at - (at % this.size), End: event.ctrlKey ? last : at - (at % this.size) + this.size - 1,
      }[event.key];
      if (target !== undefined) this.focus(Math.max(0, Math.min(last, target)));
      else if (event.key === "Enter" || event.key === " ") this.view.select(at);
      else if (event.key === "Escape" && !this.peek.hidden) this.hidePeek();
      else return;
      event.preventDefault();
      event.stopPropagation();
    }

    // The cell that is drawn above or below: rows may wrap.
    above(at, direction) {
      const from = this.cells[at].getBoundingClientRect();
      const middle = from.left + from.width / 2;
      let best = at, line = null, distance = Infinity;
      for (let other = at + direction; other >= 0 && other < this.run.length; other += direction) {
        const box = this.cells[other].getBoundingClientRect();
        if (direction * (box.top - from.top) < from.height / 2) continue;
        line = line ?? box.top;
        if (Math.abs(box.top - line) > 2) break;
        const gap = Math.abs(box.left + box.width / 2 - middle);
        if (gap < distance) { distance = gap; best = other; }
      }
      return best;
    }

    showPeek(at) {
      const { run } = this;
      const lines = [make("strong", {}, `position ${at}`)];
      const write = this.canvas.writes[at];
      if (write) lines.push(make("div", {}, `“${run.seen(this.canvas.ids[at])}” of step ${write.step}${write.confidence === null ? "" : `, confidence ${write.confidence}`}`));
      const pairs = this.number >= 0 ? run.steps[this.number].candidatesAt(at) : [];
      if (pairs.length) lines.push(candidatesTable(run, pairs));
      const values = run.values(this.number, at);
      if (values.length) lines.push(valuesTable(values, null));
      this.peek.replaceChildren(...lines);
      this.peek.hidden = false;
      const cell = this.cells[at];
      const room = this.element.clientWidth - this.peek.offsetWidth;
      const box = cell.getBoundingClientRect(), own = this.element.getBoundingClientRect();
      this.peek.style.left = `${Math.max(0, Math.min(room, box.left - own.left))}px`;
      this.peek.style.top = `${box.bottom - own.top + 6}px`;
    }

    hidePeek() {
      this.peek.hidden = true;
    }

    draw(done, colour, selected, other) {
      const { run } = this;
      this.canvas = run.canvas(done);
      this.number = done - 1;
      const step = done > 0 ? run.steps[this.number] : null;
      const changes = run.changes(this.number);
      const refused = new Map(step && step.refused ? step.refused : []);
      const revoked = new Map(step ? step.revoked : []);
      const upcoming = step || run.steps[0];
      const window = run.windowOf(upcoming);
      for (let at = 0; at < run.length; at++) {
        this.drawCell(at, {
          write: this.canvas.writes[at], id: this.canvas.ids[at], change: changes.get(at),
          isAccepted: step !== null && changes.has(at) && run.isAccepted(this.number),
          struck: refused.has(at) ? refused.get(at) : revoked.get(at) ?? (this.canvas.writes[at] && changes.get(at) === "edited" ? this.canvas.writes[at].before : undefined),
          isRefused: refused.has(at), inWindow: window !== null && at >= window[0] && at < window[1],
          isSelected: at === selected, differs: other !== null && at < other.ids.length && other.ids[at] !== this.canvas.ids[at],
          colour,
        });
      }
      this.reveal(selected === null ? [...changes.keys()] : [selected]);
      this.hidePeek();
    }

    drawCell(at, state) {
      const { run } = this;
      const cell = this.cells[at];
      const isMask = state.id === null;
      const classes = ["cell", isMask ? "masked" : state.id === run.eos ? "end" : "", run.isGiven.has(at) ? "given" : "", state.inWindow ? "in-window" : "", state.change ? `now now-${state.change}` : "", state.isAccepted ? "accepted" : "", state.isRefused ? "refused" : "", state.differs ? "differs" : ""];
      const level = this.level(at, state);
      const label = this.label(at, state);
      const seen = [...classes, level, state.colour, state.struck, state.id, state.isSelected, label].join("\n");
      if (seen === this.drawn[at]) return; // a canvas may have thousands of cells, and a step changes a few
      this.drawn[at] = seen;
      cell.className = [...classes, level === null ? "" : state.colour === "phase" ? "phased" : "tinted"].filter(Boolean).join(" ");
      if (state.colour === "phase" && level !== null) cell.dataset.hue = level % PHASE_COLOURS; else delete cell.dataset.hue;
      cell.style.setProperty("--level", level === null || state.colour === "phase" ? 0 : level);
      const struck = state.struck === undefined ? null : make("del", {}, run.short(state.struck));
      cell.replaceChildren(...[struck, make("bdi", {}, isMask ? "·" : run.short(state.id))].filter(Boolean));
      if (state.colour === "phase" && level !== null) cell.append(make("sub", {}, String(level + 1)));
      cell.setAttribute("aria-label", label);
      cell.setAttribute("aria-selected", String(state.isSelected));
    }

    // Between 0 and 1, or the number of a phase; `null` for no colour.
    level(at, { write, colour, id }) {
      const { run } = this;
      if (colour === "none" || run.isGiven.has(at)) return null;
      if (colour === "step") return write ? write.step / Math.max(1, run.count - 1) : null;
      if (colour === "phase") return write ? run.steps[write.step].phase : null;
      if (colour === "entropy") {
        const entropy = run.entropyAt(this.number, at, write);
        return typeof entropy === "number" ? Math.min(1, entropy / run.mostEntropy) : null;
      }
      if (write) return typeof write.confidence === "number" ? write.confidence : null;
      const pairs = id === null && this.number >= 0 ? run.steps[this.number].candidatesAt(at) : [];
      return pairs.length ? pairs[1] : null;
    }

    label(at, state) {
      const { run } = this;
      const parts = [`position ${at}`, state.id === null ? "mask" : `'${run.text(state.id)}'`];
      if (state.id !== null && state.id === run.eos) parts.push("end of the text");
      if (run.isGiven.has(at)) parts.push("given text");
      if (state.write) {
        parts.push(`${state.write.before === undefined ? DONE.committed : DONE.edited} at step ${state.write.step}`);
        if (typeof state.write.confidence === "number") parts.push(`confidence ${state.write.confidence}`);
        if (state.colour === "phase" && run.phaseOf(state.write.step)) parts.push(`phase ${run.phaseOf(state.write.step)}`);
      }
      if (state.change) parts.push(state.write ? "in this step" : `${state.change} in this step`);
      const pairs = state.id === null && this.number >= 0 ? run.steps[this.number].candidatesAt(at) : [];
      if (pairs.length) parts.push(`likeliest '${run.text(pairs[0])}' ${pairs[1]}`);
      if (state.isAccepted) parts.push("an accepted draft");
      if (state.isRefused) parts.push(state.struck === run.mask ? "a draft left it a mask and was refused" : `a draft wrote '${run.text(state.struck)}' and was refused`);
      else if (state.struck !== undefined) parts.push(`before it was '${run.text(state.struck)}'`);
      if (state.inWindow) parts.push("in the window");
      if (state.differs) parts.push("differs between the runs");
      return parts.join(", ");
    }
  }

  function candidatesTable(run, pairs) {
    const rows = [];
    for (let at = 0; at < pairs.length; at += 2) {
      const bar = make("span", { class: "bar", "aria-hidden": "true" });
      bar.style.setProperty("--level", pairs[at + 1]);
      rows.push(make("tr", {}, make("th", { scope: "row" }, make("bdi", { class: "token" }, run.seen(pairs[at]))), make("td", {}, String(pairs[at + 1])), make("td", {}, bar)));
    }
    return make("table", { class: "candidates" }, make("caption", {}, "Likeliest tokens"), make("tbody", {}, rows));
  }

  function valuesTable(values, show) {
    const rows = values.map(([name, span, value]) => make("tr", {},
      make("th", { scope: "row" }, show && span ? make("button", { type: "button", class: "link", onclick: () => show(span) }, name) : name),
      make("td", {}, value)));
    return make("table", { class: "values" }, make("caption", {}, show ? "Values" : "Values here"), make("tbody", {}, rows));
  }

  // A browser would break a line inside of `->`.
  function unbroken(text) {
    return text.split("->").flatMap((part, at) => (at ? [make("span", { class: "arrow" }, "->"), part] : [part]));
  }

  // What the marks on this canvas mean; only those that it ever has.
  function marksOf(run, isPair) {
    const has = run.marks();
    const mark = (kind, token, text, struck) => make("li", {}, make("span", { class: `cell example ${kind}`, "aria-hidden": "true" }, struck ? make("del", {}, struck) : null, make("bdi", {}, token)), ` ${text}`);
    return make("ul", { class: "marks", "aria-label": "marks on the canvas" },
      mark("masked", "·", "a mask"), mark("now now-committed", "word", "written by this step"),
      has.edited && mark("now now-edited", "new", "replaced by this step", "old"), has.revoked && mark("masked now now-revoked", "·", "a mask again by this step", "old"),
      has.accepted && mark("now now-committed accepted", "word", "from an accepted draft"), has.refused && mark("refused", "·", "a refused draft", "word"),
      has.end && mark("end", "end", "the end of the text"), has.given && mark("given", "word", "given text"),
      has.window && mark("in-window", "word", "in the window"), isPair && mark("differs", "word", "differs between the two"));
  }

  // --- one run: canvas, explanation, policy

  class RunView {
    constructor(run, view, number, isPair) {
      Object.assign(this, { run, view });
      const heading = make(`h${view.heading + 1}`, { class: isPair ? "title" : "only-read" }, isPair ? `${"AB"[number]}: ${run.title}` : run.title);
      this.facts = make("p", { class: "facts" });
      this.canvas = new Canvas(run, view, `canvas of ${run.title}: ${plural(run.length, "position")}`);
      this.policy = run.policy ? new PolicyText(run, `${view.id}-${number}`) : null;
      this.why = make("section", { class: "why", "aria-label": `explanation, ${run.title}` });
      this.row = make("section", { class: "row-values", "aria-label": `values of the step, ${run.title}` });
      const parameters = run.policy ? run.policy.parameters.map(([name, value]) => `${name} = ${value}`).join(", ") : "";
      const side = this.policy ? make("section", { class: "side", "aria-label": `policy of ${run.title}` },
        make(`h${view.heading + 2}`, { class: "label" }, "Policy"), parameters ? make("details", { class: "parameters" }, make("summary", {}, plural(run.policy.parameters.length, "parameter")), parameters) : null, this.policy.element) : null;
      const note = run.hasValues ? null : make("p", { class: "note" }, "This trace has no values, so nothing explains its steps. Record them with ", make("code", {}, "dsldec run --trace FILE --values"), ", or in Python with ", make("code", {}, 'decode(..., trace="values")'), ".");
      const large = run.hasValues && !run.allExplained ? make("p", { class: "note" }, "This trace is long: only the positions that a step changed are explained here. ", make("code", {}, "dsldec why"), " explains the others.") : null;
      this.element = make("section", { class: "run", "aria-label": run.title },
        make("header", {}, heading, this.facts, note, large),
        make("div", { class: "inspect" }, this.canvas.element, marksOf(run, isPair), make("div", { class: "answers" }, this.why, this.row)), side);
      if (!side) this.element.classList.add("alone");
      this.pointed = null;
    }

    draw(done, colour, selected, other) {
      const { run } = this;
      this.number = done - 1;
      this.canvas.draw(done, colour, selected, other);
      const step = done > 0 ? run.steps[done - 1] : null;
      const count = this.canvas.canvas.ids.filter((id) => id !== null).length;
      const forwards = step ? step.forward + 1 : 0;
      const total = run.count ? run.steps[run.count - 1].forward + 1 : 0;
      const parts = [`${forwards} of ${plural(total, "forward")}`, `${done} of ${plural(run.count, "step")}`, `${count} of ${plural(run.length, "position")} written`];
      if (step && run.phaseOf(done - 1)) parts.push(`phase ${run.phaseOf(done - 1)}`);
      this.facts.replaceChildren(...parts.map((part) => make("span", {}, part)));
      this.pointed = null;
      const hadFocus = this.why.contains(document.activeElement) || this.row.contains(document.activeElement);
      if (this.policy) this.policy.run(step ? run.phaseOf(done - 1) : "");
      this.explain(selected);
      this.drawRow(step);
      // Its buttons are new, so the keyboard would fall back to the start of the page.
      if (hadFocus && selected !== null) this.why.querySelector(".label").focus({ preventScroll: true });
      else if (hadFocus) this.canvas.focus(this.canvas.focused);
    }

    explain(selected) {
      const { run, number } = this;
      const title = make(`h${this.view.heading + 2}`, { class: "label", tabindex: "-1" }, "Why");
      if (selected === null) {
        this.why.replaceChildren(title, make("p", { class: "hint" }, run.hasValues ? "Choose a position: click it, or press Enter on it." : "Choose a position to see who wrote it."));
        this.light([]);
        return;
      }
      if (number < 0) {
        this.why.replaceChildren(title, make("p", { class: "hint" }, `Position ${selected}: no step has run yet. Go to a step.`));
        this.light([]);
        return;
      }
      const found = run.explanation(number, selected);
      const show = (span) => this.point(span);
      const parts = [title];
      if (found) parts.push(make("p", { class: `head outcome-${found.outcome}` }, found.head), this.whyLines(found.lines));
      else parts.push(make("p", { class: "head" }, this.canvas.cells[selected].getAttribute("aria-label")));
      const pairs = run.steps[number].candidatesAt(selected);
      const values = run.values(number, selected);
      const tables = [pairs.length ? candidatesTable(run, pairs) : null, values.length ? valuesTable(values, this.policy ? show : null) : null].filter(Boolean);
      if (tables.length) parts.push(make("div", { class: "tables" }, tables));
      const writer = this.canvas.canvas.writes[selected];
      if (writer && writer.step !== number) {
        parts.push(make("button", { type: "button", class: "go", onclick: () => this.view.goToStep(writer.step + 1, run) }, `Go to step ${writer.step}, which wrote it`));
      }
      this.why.replaceChildren(...parts);
      this.light(found ? found.lines : []);
    }

    whyLines(lines) {
      return make("ul", { class: "lines" }, lines.map((line) => {
        const classes = ["why-line", line.holds === true ? "holds" : line.holds === false ? "fails" : "", line.decides ? "decides" : ""].filter(Boolean).join(" ");
        const body = line.span && this.policy
          ? make("button", { type: "button", class: "link", onclick: () => this.point(line.span) }, unbroken(line.text))
          : make("span", {}, unbroken(line.text));
        const item = make("li", { class: classes, "data-depth": line.depth }, body);
        item.style.setProperty("--depth", line.depth);
        return item;
      }));
    }

    // Light the places of an explanation: those that decided first of all.
    light(lines) {
      if (!this.policy) return;
      const some = lines.filter((line) => line.span);
      const marked = some.some((line) => line.decides);
      const places = some.map((line, at) => ({
        start: line.span[0], end: line.span[1],
        kind: (marked ? line.decides : at === 0) ? (line.holds === false ? "no" : "yes") : "part",
      }));
      if (this.pointed) places.push({ start: this.pointed[0], end: this.pointed[1], kind: "pointed" });
      this.lines = lines;
      this.policy.light(places);
      const first = places.find((place) => place.kind !== "part");
      if (first && !this.pointed) this.policy.scroll(first.start);
    }

    point(span) {
      this.pointed = span;
      this.light(this.lines || []);
      this.policy.show(span);
      this.view.say(`line ${this.policy.lines.findIndex((line) => line.end >= span[0]) + 1} of the policy: ${this.policy.policy.text.slice(span[0], span[1])}`);
    }

    drawRow(step) {
      const { run, number } = this;
      this.row.replaceChildren();
      if (!step) return;
      const parts = [make("p", { class: "changed" }, this.changesText())];
      const values = run.values(number, null);
      if (values.length) parts.push(valuesTable(values, this.policy ? (span) => this.point(span) : null));
      const sentences = [];
      if (run.isAccepted(number)) sentences.push("An accepted draft: it shares its forward with the step before.");
      if (step.refused && step.refused.length) sentences.push(`Refused ${plural(1 + (step.dropped || 0), "draft")}: struck out on the canvas.`);
      else if (step.dropped) sentences.push(`Refused ${plural(step.dropped, "draft")}.`);
      if (step.scores && step.scores.length) sentences.push(`Candidate ${step.branch} went on. Scores: ${step.scores.map((score) => written(score)).join(", ")}.`);
      if (step.recomputed) sentences.push("The values were computed apart from the step and round otherwise.");
      if (step.next) {
        const [text, span] = step.next;
        parts.push(make("p", {}, "This decided the phase: ", this.policy && this.run.spans[span] ? make("button", { type: "button", class: "link code", onclick: () => this.point(this.run.spans[span]) }, text) : make("code", {}, text)));
      }
      if (sentences.length) parts.push(make("p", {}, sentences.join(" ")));
      this.row.append(make(`h${this.view.heading + 2}`, { class: "label" }, "This step"), ...parts);
    }

    changesText() {
      const counts = {};
      for (const change of this.run.changes(this.number).values()) counts[change] = (counts[change] || 0) + 1;
      return Object.entries(counts).map(([change, count]) => `${change} ${plural(count, "position")}`).join(", ") || "no change";
    }
  }

  // --- the whole view

  class View {
    constructor(root, data, settings) {
      this.root = root;
      this.id = `trace-view-${++views}`;
      this.heading = settings.heading || 2;
      this.isPage = settings.isPage || false; // then it also takes the keys that no other element has
      Object.assign(this, { colour: "confidence", unit: "step", speed: 4, at: 0, selected: null, timer: null });
      root.classList.add("dsldec-view");
      this.onKey = (event) => this.key(event);
      document.addEventListener("keydown", this.onKey);
      this.sizes = new ResizeObserver(() => this.panels.forEach((panel) => panel.canvas.layout()));
      this.update(data);
      if (this.data.difference) this.showDifference();
    }

    update(data) {
      this.pause();
      const wasAtEnd = this.data !== undefined && this.at === this.most;
      this.data = data;
      this.runs = data.runs.map((run) => new Run(run));
      this.most = this.mostOf(this.unit);
      this.at = wasAtEnd || this.at > this.most ? this.most : this.at;
      const shortest = Math.min(...this.runs.map((run) => run.length));
      if (this.selected !== null && this.selected >= shortest) this.selected = null;
      this.build();
      this.draw();
    }

    mostOf(unit) {
      return Math.max(...this.runs.map((run) => (unit === "step" ? run.count : run.ends.length - 1)));
    }

    // The number of steps of a run that are done.
    done(run) {
      return this.unit === "step" ? Math.min(this.at, run.count) : run.ends[Math.min(this.at, run.ends.length - 1)];
    }

    build() {
      const isPair = this.runs.length === 2;
      this.panels = this.runs.map((run, number) => new RunView(run, this, number, isPair));
      this.status = make("p", { class: "status" });
      this.live = make("p", { class: "only-read", role: "status", "aria-live": "polite" });
      const prompt = this.runs[0].prompt;
      const asked = prompt === null
        ? make("p", { class: "prompt" }, `The prompt has ${plural(this.runs[0].promptTokens, "token")}.`)
        : make("details", { class: "prompt", open: prompt.length < 400 }, make("summary", {}, `Prompt, ${plural(this.runs[0].promptTokens, "token")}`), make("pre", {}, prompt));
      const other = this.data.samePrompt === false ? make("p", { class: "note" }, "The two runs have different prompts. The first one is shown.") : null;
      this.root.replaceChildren(
        make("header", { class: "top" }, make(`h${this.heading}`, { class: "view-title" }, isPair ? `${this.runs[0].title} and ${this.runs[1].title}` : `Steps of ${this.runs[0].title}`), asked, other),
        this.controls(isPair),
        make("div", { class: isPair ? "runs pair" : "runs" }, this.panels.map((panel) => panel.element)),
        this.help(), this.live);
      this.sizes.disconnect();
      for (const { canvas } of this.panels) {
        canvas.layout();
        this.sizes.observe(canvas.grid);
      }
    }

    controls(isPair) {
      const button = (text, label, action) => make("button", { type: "button", "aria-label": label, title: label, onclick: action }, text);
      this.player = button("Play", "play", () => this.toggle());
      this.slider = make("input", { type: "range", min: 0, max: this.most, step: 1, value: this.at, "aria-label": this.unit, oninput: () => this.go(Number(this.slider.value)) });
      const choice = (label, options, value, action) => make("label", {}, `${label} `, make("select", { onchange: (event) => action(event.target.value) }, options.map(([key, text]) => make("option", { value: key, selected: String(key) === String(value) }, text))));
      this.legend = make("div", { class: "legend" });
      const jump = isPair && this.data.difference ? make("button", { type: "button", class: "difference", onclick: () => this.goToDifference() }, this.differenceText()) : null;
      const equal = isPair && !this.data.difference ? make("p", { class: "equal" }, "Both runs have the same steps.") : null;
      return make("section", { class: "controls", "aria-label": "steps" },
        make("div", { class: "buttons" },
          button("|‹", "before the first step", () => this.go(0)), button("‹", "one step back", () => this.go(this.at - 1)), this.player,
          button("›", "one step on", () => this.go(this.at + 1)), button("›|", "after the last step", () => this.go(this.most)), this.status, jump, equal),
        make("div", { class: "track" }, this.slider, this.bands()),
        make("div", { class: "choices" },
          choice("Colour", COLOURS, this.colour, (value) => { this.colour = value; this.draw(); }),
          choice("Step by", [["step", "step"], ["forward", "forward"]], this.unit, (value) => this.setUnit(value)),
          choice("Speed", SPEEDS, this.speed, (value) => { this.speed = Number(value); if (this.timer) { this.pause(); this.toggle(); } }),
          this.legend));
    }

    // Bands over the steps: the phases, the accepted drafts, the first difference.
    bands() {
      const bands = [];
      this.runs.forEach((run, number) => {
        const name = this.runs.length === 2 ? `${"AB"[number]}: ` : "";
        const drawn = (kind, label, keyOf, textOf) => {
          const band = make("div", { class: `band ${kind}`, role: "img", "aria-label": label });
          for (const [from, to, key] of this.stretches(run, keyOf)) {
            const part = make("span", { title: textOf(key, from, to) }, kind === "phases" ? textOf(key, from, to).split(":")[0] : "");
            part.style.left = `${(100 * from) / this.most}%`;
            part.style.width = `${(100 * (to - from)) / this.most}%`;
            if (kind === "phases") part.dataset.hue = key % PHASE_COLOURS;
            band.append(part);
          }
          if (band.childElementCount) bands.push(band);
        };
        if (run.phases.length > 1) {
          const text = this.stretches(run, (step) => step.phase).map(([from, to, key]) => `${run.phases[key]} ${from}–${to - 1}`).join(", ");
          drawn("phases", `${name}phases: ${text}`, (step) => step.phase, (key, from, to) => `${run.phases[key]}: steps ${from}–${to - 1}`);
        }
        if (this.unit === "step") {
          const accepted = run.steps.filter((_, at) => run.isAccepted(at)).length;
          const refused = run.steps.filter((step) => (step.refused && step.refused.length) || step.dropped).length;
          if (accepted || refused) {
            drawn("drafts", `${name}${plural(accepted, "accepted draft")}, refused drafts in ${plural(refused, "step")}`,
              (step, at) => (run.isAccepted(at) ? "accepted" : (step.refused && step.refused.length) || step.dropped ? "refused" : null),
              (key, from, to) => `${key} drafts: steps ${from}–${to - 1}`);
          }
        }
      });
      const difference = this.data.difference;
      if (difference && this.most) {
        const flag = make("span", { class: "flag", title: this.differenceText() });
        flag.style.left = `${(100 * this.atOfStep(difference[0] + 1)) / this.most}%`;
        bands.push(make("div", { class: "band flags", "aria-hidden": "true" }, flag));
      }
      return bands;
    }

    stretches(run, keyOf) {
      const found = [];
      for (let at = 0; at < (this.unit === "step" ? run.count : run.ends.length - 1); at++) {
        const number = this.unit === "step" ? at : run.ends[at + 1] - 1;
        const key = number < 0 ? null : keyOf(run.steps[number], number);
        const last = found[found.length - 1];
        if (key !== null && last && last[2] === key && last[1] === at) last[1] = at + 1;
        else if (key !== null) found.push([at, at + 1, key]);
      }
      return found;
    }

    differenceText() {
      const [step, places] = this.data.difference;
      return `First difference: step ${step}${places.length ? `, position ${places[0]}` : ""}`;
    }

    showDifference() {
      const [step, places] = this.data.difference;
      if (places.length) this.selected = places[0];
      this.go(this.atOfStep(step + 1));
    }

    goToDifference() {
      this.showDifference();
      if (this.selected !== null) this.panels[0].canvas.focus(this.selected);
    }

    // The place of the slider after this number of steps.
    atOfStep(done, run = this.runs.find((one) => one.count >= done) || this.runs[0]) {
      return this.unit === "step" ? done : Math.max(0, run.ends.findIndex((end) => end >= done));
    }

    goToStep(done, run) {
      this.go(this.atOfStep(done, run));
    }

    setUnit(unit) {
      const done = this.done(this.runs[0]);
      this.unit = unit;
      this.most = this.mostOf(unit);
      this.at = this.atOfStep(done, this.runs[0]);
      const focus = document.activeElement && document.activeElement.tagName === "SELECT";
      const fresh = this.controls(this.runs.length === 2);
      this.root.querySelector(".controls").replaceWith(fresh);
      if (focus) fresh.querySelectorAll("select")[1].focus();
      this.draw();
    }

    go(at) {
      this.at = Math.max(0, Math.min(this.most, at));
      this.draw();
    }

    select(at) {
      this.selected = at;
      this.draw();
      const why = this.panels[0].run.explanation(this.panels[0].number, at);
      const spoken = why && why.lines.filter((line, place) => line.decides || !place).map((line) => line.text);
      this.say(why ? `${why.head}. ${spoken.join(". ")}` : this.panels[0].canvas.cells[at].getAttribute("aria-label"));
    }

    draw() {
      this.root.style.setProperty("--controls", `${this.slider.closest(".controls").offsetHeight}px`);
      // The policy ends above the lower edge of the window, also while the page is not scrolled.
      if (this.isPage) this.root.style.setProperty("--above", `${Math.round(this.panels[0].facts.getBoundingClientRect().bottom + window.scrollY)}px`);
      const canvases = this.runs.map((run) => run.canvas(this.done(run)));
      this.panels.forEach((panel, number) => {
        const selected = this.selected !== null && this.selected < panel.run.length ? this.selected : null;
        panel.draw(this.done(panel.run), this.colour, selected, canvases.length === 2 ? canvases[1 - number] : null);
      });
      this.slider.value = this.at;
      const text = this.stepText();
      this.slider.setAttribute("aria-valuetext", text);
      this.status.textContent = text;
      // A slider with the focus says its step itself.
      if (!this.timer) this.say(this.slider === document.activeElement ? this.changesText() : `${text}. ${this.changesText()}`);
      this.drawLegend();
    }

    stepText() {
      if (this.at === 0) return "before the first step";
      return `${this.unit} ${this.at - 1} (${this.at} of ${this.most})`;
    }

    changesText() {
      return this.panels.map((panel) => (this.panels.length === 2 ? `${panel.run.title}: ` : "") + panel.changesText()).join("; ");
    }

    say(text) {
      this.live.textContent = text;
    }

    drawLegend() {
      const [low, high, what] = {
        confidence: ["0", "1", "probability of the token when written; on a mask, of the likeliest token"],
        entropy: ["0", String(Number(Math.max(...this.runs.map((run) => run.mostEntropy)).toPrecision(3))), "entropy of the denoiser at the position, in nats"],
        step: ["first step", "last step", "the step that wrote the token"],
      }[this.colour] || ["", "", ""];
      const hasEntropy = this.runs.some((run) => run.entropyName >= 0 || run.mostEntropy > 1e-6);
      if (this.colour === "none") return this.legend.replaceChildren();
      if (this.colour === "entropy" && !hasEntropy) return this.legend.replaceChildren("This trace has no entropy: trace files have it only where the policy reads it.");
      if (this.colour === "phase") {
        const names = [...new Set(this.runs.flatMap((run) => run.phases.map((name, at) => `${at}\n${name}`)))].map((one) => one.split("\n"));
        if (names.length === 1) return this.legend.replaceChildren("This policy has one phase.");
        return this.legend.replaceChildren(...names.map(([at, name]) => make("span", { class: "swatch", "data-hue": at % PHASE_COLOURS }, `${Number(at) + 1} ${name || "(no name)"}`)));
      }
      return this.legend.replaceChildren(make("span", {}, low), make("span", { class: "ramp", "aria-hidden": "true" }), make("span", {}, high), make("span", { class: "meaning" }, what));
    }

    help() {
      const key = (keys, text) => make("li", {}, keys.map((one, at) => [at ? " " : null, make("kbd", {}, one)]), ` ${text}`);
      return make("details", { class: "help" }, make("summary", {}, "Keys"),
        make("div", { class: "help-lists" },
          make("ul", {}, key(["←", "→"], "one step"), key(["Home", "End"], "before the first step, after the last"), key([",", "."], "one step, also while a position has the focus"),
            key(["Space"], "play, pause"), key(["Tab"], "to the next part; the canvas is one part"), key(["←", "→", "↑", "↓"], "on the canvas: to another position"), key(["Enter"], "on the canvas: explain the position"), key(["d"], "to the first difference"), key(["Esc"], "close the card, or the explanation"))));
    }

    toggle() {
      if (this.timer) return this.pause(true);
      if (this.at === this.most) this.go(0);
      this.timer = setInterval(() => {
        if (this.at >= this.most || !this.root.isConnected) this.pause(true);
        else this.go(this.at + 1);
      }, 1000 / this.speed);
      this.player.textContent = "Pause";
      this.player.setAttribute("aria-label", "pause");
      return undefined;
    }

    pause(says = false) {
      clearInterval(this.timer);
      this.timer = null;
      if (!this.player) return;
      this.player.textContent = "Play";
      this.player.setAttribute("aria-label", "play");
      if (says) this.say(`paused at ${this.stepText()}`);
    }

    key(event) {
      if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented) return;
      const target = event.target;
      if (!this.root.contains(target) && !(this.isPage && (target === document.body || target === document.documentElement))) return;
      if (target.closest && target.closest("select, textarea, [contenteditable], input:not([type=range])")) return;
      const onButton = target.closest && target.closest("button, summary, a");
      const inScroll = target.closest && target.closest(".policy");
      const isRange = target === this.slider;
      const action = {
        ",": () => this.go(this.at - 1), ".": () => this.go(this.at + 1),
        d: () => this.data.difference && this.goToDifference(),
        Escape: () => { if (this.selected !== null) { this.selected = null; this.draw(); this.say("explanation closed"); } }, // a focus in the explanation goes back to the canvas
        ...(isRange || inScroll ? {} : { ArrowLeft: () => this.go(this.at - 1), ArrowRight: () => this.go(this.at + 1), Home: () => this.go(0), End: () => this.go(this.most) }),
        ...(onButton ? {} : { " ": () => this.toggle() }),
      }[event.key];
      if (!action) return;
      event.preventDefault();
      action();
    }

    destroy() {
      this.pause();
      this.sizes.disconnect();
      document.removeEventListener("keydown", this.onKey);
      this.root.replaceChildren();
    }
  }

  function mount(element, data, settings = {}) {
    const view = new View(element, data, settings);
    return {
      update: (fresh) => view.update(fresh),
      go: (at) => view.go(at),
      select: (at) => view.select(at),
      destroy: () => view.destroy(),
      // The text of `str(why)`; `null` for a step without values.
      explanation: (run, step, at) => {
        const why = view.runs[run].explanation(step, at);
        return why && [why.head, ...why.lines.map((line) => "  ".repeat(line.depth + 1) + line.text)].join("\n");
      },
    };
  }

  return { mount };
})();
