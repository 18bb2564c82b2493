// The page of `dsldec play`: asks the server for everything, and keeps the text where a dead server leaves it.

"use strict";

(async () => {
  const { made } = dsldecControls;
  const at = (id) => document.getElementById(id);
  const tab = crypto.randomUUID();
  const STORED = "dsldec-play";
  const POLL = 250; // milliseconds
  let editor, start, view;
  let policy = null; // of the last text that had no error
  let given = null; // values of a link, until its policy is checked
  let before = null, now = null, figuresOf = "";
  let pinned = null; // the figures of the pinned run, and the key of its text and values
  let timer = 0, asked = 0, polls = 0;

  class Refused extends Error {}

  /** The server's answer. Shows a sentence, and throws `Refused`, where there is none. */
  async function ask(name, fields) {
    let response;
    try {
      response = await fetch(`api/${name}`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(fields),
      });
    } catch {
      notice("The server has stopped: start `dsldec play` again, and open its new address. The text stays here.");
      throw new Refused();
    }
    if (response.status === 403) {
      notice("The address of this page is too old: open the address that `dsldec play` printed. The text stays here.");
      throw new Refused();
    }
    notice("");
    const answer = await response.json();
    if (!response.ok) {
      status(answer.diagnostics.map(sentence).join(" "));
      throw new Refused();
    }
    return answer;
  }

  function notice(text) {
    if (at("notice").textContent === text) return;
    at("notice").textContent = text;
    at("notice").hidden = !text;
  }

  const status = (text) => (at("status").textContent = text);
  const tell = (text) => (at("told").textContent = text);

  /** Whether what is shown belongs to another text or other values than those of the page. */
  function earlier(isEarlier) {
    at("earlier").hidden = !(isEarlier && view);
    for (const id of ["answer", "trace", "held-out", "held-out-status"]) at(id).classList.toggle("earlier", isEarlier);
  }

  const sentence = (one) => `${one.message}${one.label ? ` (${one.label})` : ""}.${one.help ? ` Help: ${one.help}.` : ""}`;

  /** After a question without an answer. */
  function gaveUp() {
    if (/^(Checking|Decoding)/.test(at("status").textContent)) status("Not decoded.");
    earlier(true);
  }

  // --- the text

  async function check(text) {
    try {
      const answer = await ask("check", { text });
      if (text !== editor.text()) return answer.diagnostics;
      showMistakes(answer.diagnostics);
      checked(answer.policy, text);
      return answer.diagnostics;
    } catch (failure) {
      quiet(failure);
      gaveUp();
      return [];
    }
  }

  function checked(found, text) {
    policy = found && { ...found, text };
    if (!found) {
      asked++; // an answer to an older text does not come back
      at("stop").hidden = true;
      status("The policy has mistakes, so it is not decoded.");
      earlier(true);
      at("facts").textContent = "";
      return;
    }
    controls.show(found.controls);
    if (given) controls.give(given);
    given = null;
    at("seed-label").hidden = !found.draws;
    at("facts").textContent = `${found.name}: at most ${found.forwards} forwards; least positions a step: ${found.floor}.`;
    decodeSoon(0);
  }

  function showMistakes(list) {
    at("mistakes").replaceChildren(...list.map((one) => {
      const box = made("div", { className: `mistake ${one.severity}` });
      const place = made("button", { type: "button", className: "place" }, `line ${one.line ?? 1}`);
      place.onclick = () => editor.reveal(one.start ?? 0);
      box.append(made("p", {}, place, made("span", { className: "code" }, one.code), ` ${one.message}`));
      if (one.label) box.append(made("p", {}, one.label));
      if (one.help) box.append(made("p", {}, `help: ${one.help}`));
      for (const fix of one.fixes ?? []) {
        const button = made("button", { type: "button", className: "fix" }, fix.title);
        button.onclick = () => {
          const text = editor.text();
          editor.replace(text.slice(0, fix.start) + fix.text + text.slice(fix.end));
          editor.focus();
        };
        box.append(button);
      }
      return box;
    }));
  }

  async function format() {
    const text = editor.text();
    const answer = await ask("format", { text }).catch(quiet);
    if (!answer || text !== editor.text()) return;
    if (answer.text === null) tell("The text cannot be formatted before its mistakes are mended.");
    else editor.replace(answer.text);
  }

  function quiet(failure) {
    if (!(failure instanceof Refused)) throw failure;
    return null;
  }

  // --- decoding

  const controls = dsldecControls.create(at("controls"), (delayed) => decodeSoon(delayed ? 300 : 0));

  function settings() {
    return {
      text: editor.text(),
      values: controls.values(),
      prompt: at("prompt").value,
      gen_length: at("gen-length").valueAsNumber || start.gen_length.default,
      seed: policy?.draws ? at("seed").valueAsNumber || 0 : 0,
    };
  }

  function decodeSoon(delay = 300) {
    save();
    clearTimeout(timer);
    timer = setTimeout(decode, delay);
  }

  async function decode() {
    if (!policy || policy.text !== editor.text()) return;
    const number = ++asked;
    const request = settings();
    status("Decoding ...");
    poll(number);
    const answer = await ask("decode", { tab, number, ...request }).catch(quiet);
    if (number !== asked) return;
    at("stop").hidden = true;
    if (!answer || answer.status === "replaced") return gaveUp();
    const problem = (answer.diagnostics ?? []).map(sentence).join(" ");
    earlier(answer.status === "failed");
    if (answer.status === "failed") return status(problem);
    at("answer").textContent = answer.text;
    const counts = `${answer.tokens} tokens in ${answer.forwards} forwards (at most ${answer.max_forwards})`;
    if (answer.status === "stopped") {
      status(`${problem || "You stopped the decode."} Written until then: ${counts}.`);
      at("earlier").hidden = !view;
      at("trace").classList.add("earlier");
      return;
    }
    status(`Decoded: ${counts}.`);
    at("pin").hidden = !answer.page;
    if (pinned && answer.page?.runs.length === 1) {
      status(`Decoded: ${counts}. The pinned run has another prompt or length, so it is not shown beside it.`);
    }
    if (answer.page) showTrace(answer.page);
    else status(`Decoded: ${counts}. Its steps cannot be shown: the terminal says why.`);
    watchFigures(number, request);
  }

  /** While a decode waits or runs: says for whom the server works, and how far it is. */
  async function poll(number) {
    for (;;) {
      await new Promise((done) => setTimeout(done, POLL));
      if (number !== asked || !at("status").textContent.startsWith("Decoding")) return;
      const answer = await ask("state", { tab }).catch(quiet);
      if (!answer || number !== asked || !at("status").textContent.startsWith("Decoding")) return;
      at("stop").hidden = false;
      const { step, written, length } = answer.progress ?? {};
      const far = answer.progress ? `Decoding: step ${step}, ${written} of ${length} positions are written.` : "Decoding ...";
      status(answer.decoding === "other" ? "Decoding in another tab; this one is next." : far);
    }
  }

  function showTrace(page) {
    if (view) view.update(page);
    else {
      view = dsldecTraceView.mount(at("trace"), page, { heading: 3 });
      view.go(page.runs[0].steps.length); // it stays after the last step when a slider moves
    }
  }

  // --- held-out prompts

  async function watchFigures(number, request) {
    const poll = ++polls;
    const key = JSON.stringify([request.text, request.values, request.seed]);
    if (key !== figuresOf && now?.ended) before = now;
    figuresOf = key;
    for (;;) {
      const answer = await ask("state", { tab }).catch(quiet);
      if (!answer || number !== asked || poll !== polls) return;
      if (answer.held_out) showFigures(answer.held_out);
      if (!answer.held_out || answer.held_out.ended) return;
      await new Promise((done) => setTimeout(done, POLL));
    }
  }

  function showFigures(figures) {
    now = figures;
    if (pinned?.key === figuresOf) pinned.figures = figures;
    const other = pinned ? pinned.figures : before;
    for (const [kind, from] of [["figure", now], ["before", other]]) {
      for (const cell of document.querySelectorAll(`[data-${kind}]`)) {
        cell.textContent = from ? figureText(cell.dataset[kind], from) : "";
      }
    }
    at("before").hidden = !other;
    at("before-title").textContent = pinned ? "pinned run" : "before the last change";
    const { answered, prompts } = figures;
    const problem = figures.diagnostics.map(sentence).join(" ");
    const counted = figures.ended ? `${answered} of ${prompts} prompts are decoded.` : `${answered} of ${prompts} prompts so far ...`;
    if (figures.ended || answered % 5 === 0) at("held-out-status").textContent = problem || counted;
  }

  function figureText(name, figures) {
    if (name === "right") return figures.answered === 0 ? "" : `${figures.right} of ${figures.answered}`;
    return figures[name] === null ? "" : figures[name].toFixed(name === "forwards" ? 1 : 2);
  }

  /** Keeps this run beside the next ones, with its figures, or lets it go. */
  async function pin() {
    const answer = await ask("pin", { tab, pinned: !pinned }).catch(quiet);
    if (!answer) return;
    pinned = answer.pinned ? { key: figuresOf, figures: now } : null;
    at("pin").textContent = pinned ? "Unpin" : "Pin this run";
    at("pin").setAttribute("aria-pressed", String(Boolean(pinned)));
    decodeSoon(0);
  }

  // --- keeping and sharing

  function save() {
    const text = JSON.stringify({ ...settings(), begun: start.text });
    try {
      sessionStorage.setItem(STORED, text);
      localStorage.setItem(STORED, text);
    } catch { /* a browser without storage: nothing is kept */ }
  }

  function stored(storage) {
    try {
      const found = JSON.parse(storage.getItem(STORED));
      return typeof found?.text === "string" ? found : null;
    } catch {
      return null;
    }
  }

  /** After a reload the text is as it was. In a new page, a button brings the last one back. */
  function restore() {
    const own = stored(sessionStorage);
    if (own && own.begun === start.text) return fill(own);
    const last = own ?? stored(localStorage);
    if (!last || last.text === start.text) return;
    at("restore").hidden = false;
    at("restore").onclick = () => {
      at("restore").hidden = true;
      fill(last);
    };
  }

  /** Fills the page with a state of a link or of the storage. It is checked like any text. */
  function fill(state) {
    given = state.values ?? {};
    if (typeof state.prompt === "string") at("prompt").value = state.prompt.slice(0, start.longest.prompt);
    if (state.gen_length) at("gen-length").value = Math.min(Math.max(state.gen_length, 1), start.gen_length.most);
    if (state.seed !== undefined) at("seed").value = state.seed;
    if (editor.text() === state.text) check(state.text);
    else editor.replace(state.text.slice(0, start.longest.text));
  }

  async function share() {
    const fragment = await dsldecShare.fragmentOf(settings());
    if (fragment === null) return tell("The policy is too long for a link: send it as a file.");
    const link = `${location.origin}/${fragment}`;
    at("link").value = link;
    showLinkForm(true);
    try {
      await navigator.clipboard.writeText(link);
      tell("The link is copied. It opens in a running playground: `Open a link`, or `dsldec play LINK`.");
    } catch {
      at("link").select();
      tell("Copy the link from the field. It opens in a running playground.");
    }
  }

  function showLinkForm(visible) {
    at("link-form").hidden = !visible;
    at("open-link").setAttribute("aria-expanded", String(visible));
  }

  async function openFragment(fragment) {
    const state = await dsldecShare.stateOf(fragment);
    if (state === null) return tell("This is no link of a policy, or it is damaged.");
    fill(state);
    tell("The link is open.");
  }

  async function openAddress() {
    if (!location.hash) return false;
    const fragment = location.hash;
    history.replaceState(null, "", location.pathname);
    await openFragment(fragment);
    return true;
  }

  // --- the start

  start = await ask("start", {}).catch(quiet);
  if (!start) return;
  for (const name of start.policies) at("shipped").append(made("option", { value: name }, name));
  for (const [number, prompt] of start.prompts.entries()) {
    at("example").append(made("option", { value: String(number) }, prompt.length > 70 ? `${prompt.slice(0, 68)} ...` : prompt));
  }
  at("example").append(made("option", { value: "" }, "a prompt of yours"));
  at("prompt").value = start.prompts[0];
  at("prompt").maxLength = start.longest.prompt;
  Object.assign(at("gen-length"), { value: start.gen_length.default, max: start.gen_length.most });
  at("seed").max = start.most_seed;

  editor = dsldecEditor.create(at("editor"), {
    text: start.text,
    words: start.words,
    label: "policy",
    nonce: document.querySelector('meta[name="csp-nonce"]').content,
    check,
    complete: async (text, offset) => (await ask("complete", { text, offset }).catch(quiet))?.suggestions ?? [],
    hover: async (text, offset) => (await ask("hover", { text, offset }).catch(quiet))?.hover ?? null,
    changed: () => {
      save();
      tell("");
      status("Checking ...");
    },
    format,
  });

  at("format").onclick = format;
  at("share").onclick = share;
  at("open-link").onclick = () => {
    showLinkForm(at("link-form").hidden);
    if (!at("link-form").hidden) at("link").select();
  };
  at("link-form").onsubmit = (event) => {
    event.preventDefault();
    const link = at("link").value.trim();
    openFragment(link.slice(Math.max(link.indexOf("#"), 0)));
  };
  at("shipped").onchange = async () => {
    const answer = await ask("shipped", { name: at("shipped").value }).catch(quiet);
    at("shipped").value = "";
    if (answer?.text) fill({ text: answer.text, values: {} });
  };
  at("example").onchange = () => {
    if (at("example").value === "") return at("prompt").focus();
    at("prompt").value = start.prompts[Number(at("example").value)];
    decodeSoon(0);
  };
  at("prompt").oninput = () => {
    at("example").value = "";
    decodeSoon();
  };
  at("gen-length").oninput = at("seed").oninput = () => decodeSoon();
  // A text that no server has checked yet, since it had stopped, is checked first.
  at("decode").onclick = () => (policy?.text === editor.text() ? decodeSoon(0) : check(editor.text()));
  at("pin").onclick = pin;
  at("stop").onclick = () => {
    at("decode").focus(); // the button goes away
    ask("stop", { tab }).catch(quiet);
  };
  window.addEventListener("hashchange", openAddress);

  if (!(await openAddress())) restore();
  check(editor.text());
})();
