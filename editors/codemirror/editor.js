// The editor of `dsldec play`. The page gives the functions that ask the server; this file knows no addresses.

import { acceptCompletion, autocompletion, closeBrackets, completionKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import {
  HighlightStyle,
  StreamLanguage,
  bracketMatching,
  indentService,
  indentUnit,
  syntaxHighlighting,
} from "@codemirror/language";
import { forceLinting, lintGutter, lintKeymap, linter } from "@codemirror/lint";
import { EditorState, Prec } from "@codemirror/state";
import {
  EditorView,
  drawSelection,
  highlightActiveLine,
  hoverTooltip,
  keymap,
  lineNumbers,
} from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { tokensOf } from "./tokens.js";

// The colours are custom properties of the page, for light and dark.
const COLOURS = HighlightStyle.define([
  { tag: tags.keyword, color: "var(--keyword)", fontWeight: "600" },
  { tag: tags.operatorKeyword, color: "var(--keyword)" },
  { tag: tags.atom, color: "var(--number)" },
  { tag: tags.number, color: "var(--number)" },
  { tag: tags.standard(tags.name), color: "var(--word)" },
  { tag: tags.typeName, color: "var(--kind)" },
  { tag: tags.definition(tags.variableName), color: "var(--text)", fontWeight: "600" },
  { tag: tags.comment, color: "var(--quiet)", fontStyle: "italic" },
  { tag: tags.string, color: "var(--string)" },
]);

const TOKENS = {
  standard: tags.standard(tags.name),
  definition: tags.definition(tags.variableName),
};

const THEME = EditorView.theme({
  "&": { backgroundColor: "var(--field)", color: "var(--text)", fontSize: "14px" },
  "&.cm-focused": { outline: "2px solid var(--accent)" },
  ".cm-content": { caretColor: "var(--text)", fontFamily: "var(--mono)", minHeight: "14em" },
  ".cm-scroller": { maxHeight: "60vh", fontFamily: "var(--mono)" },
  ".cm-cursor": { borderLeftColor: "var(--text)" },
  ".cm-gutters": { backgroundColor: "var(--field)", color: "var(--quiet)", border: "none" },
  ".cm-activeLine": { backgroundColor: "var(--line)" },
  ".cm-selectionBackground": { backgroundColor: "var(--selection) !important" },
  ".cm-tooltip": {
    backgroundColor: "var(--panel)",
    color: "var(--text)",
    border: "1px solid var(--border)",
    maxWidth: "min(36em, 90vw)",
  },
  ".cm-tooltip-autocomplete ul li[aria-selected]": { backgroundColor: "var(--accent)", color: "var(--on-accent)" },
  ".cm-hover": { padding: "0.4em 0.8em", fontSize: "14px" },
  ".cm-hover p": { margin: "0.3em 0" },
  ".cm-diagnosticAction": { backgroundColor: "var(--accent)", color: "var(--on-accent)" },
});

/** A small part of Markdown as nodes: paragraphs, fenced code, `code`, **strong**. Never as HTML. */
export function markdownNodes(text) {
  const nodes = [];
  for (const [number, part] of text.split(/^```.*$/m).entries()) {
    if (number % 2) {
      nodes.push(element("pre", part.replace(/^\n|\n$/g, "")));
      continue;
    }
    for (const paragraph of part.split(/\n\s*\n/)) if (paragraph.trim()) nodes.push(inline(paragraph.trim()));
  }
  return nodes;
}

function inline(text) {
  const p = document.createElement("p");
  for (const found of text.matchAll(/(`+)([^]*?)\1|\*\*([^]*?)\*\*|\\([^A-Za-z0-9\s])|([^`*\\]+|[^])/g)) {
    if (found[2] !== undefined) p.append(element("code", found[2].trim()));
    else if (found[3] !== undefined) p.append(element("strong", found[3]));
    else p.append(found[4] ?? found[5]);
  }
  return p;
}

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

const KINDS = {
  statement: "keyword",
  clause: "keyword",
  word: "variable",
  function: "function",
  argument: "property",
  kind: "type",
  name: "variable",
  phase: "class",
};

function completions(ask) {
  return async (context) => {
    const before = context.matchBefore(/[A-Za-z_][A-Za-z0-9_]*/);
    if (!before && !context.explicit) return null;
    const found = await ask(context.state.doc.toString(), context.pos);
    if (!found || !found.length || context.aborted) return null;
    return {
      from: found[0].start,
      to: Math.max(found[0].end, context.pos),
      validFor: /^\w*$/,
      options: found.map((one, number) => ({
        label: one.label,
        apply: one.insert,
        detail: one.detail,
        type: KINDS[one.kind],
        boost: Math.max(-99, 50 - number),
        info: one.markdown ? () => hoverBox(one.markdown) : undefined,
      })),
    };
  };
}

function hoverBox(markdown) {
  const box = document.createElement("div");
  box.className = "cm-hover";
  box.append(...markdownNodes(markdown));
  return box;
}

function hovers(ask) {
  return hoverTooltip(async (view, pos) => {
    const found = await ask(view.state.doc.toString(), pos);
    if (!found) return null;
    return { pos: found.start, end: found.end, above: true, create: () => ({ dom: hoverBox(found.markdown) }) };
  });
}

/** A diagnostic of the server as one of the editor; each fix is a button. */
function marked(one, length) {
  const from = Math.min(one.start, length);
  return {
    from,
    to: Math.min(Math.max(one.end, from), length),
    severity: one.severity,
    source: one.code,
    message: [one.message, one.label, one.help && `help: ${one.help}`].filter(Boolean).join("\n"),
    actions: (one.fixes ?? []).map((fix) => ({
      name: fix.title,
      apply: (view) => view.dispatch({ changes: { from: fix.start, to: fix.end, insert: fix.text } }),
    })),
  };
}

function indentation(context, pos) {
  const { state } = context;
  let line = state.doc.lineAt(pos);
  const first = context.lineAt(pos, -1);
  if (first.from !== line.from || /^\s*$/.test(line.text)) {
    for (let number = line.number - 1; number >= 1 && /^\s*$/.test(line.text); number--) line = state.doc.line(number);
  }
  const spaces = /^ */.exec(line.text)[0].length;
  return /:\s*(#.*)?$/.test(line.text) ? spaces + 2 : spaces;
}

/**
 * An editor in `parent`.
 *
 * `options.words`: the words by group. `check(text)`, `complete(text, offset)`, `hover(text, offset)`: promises
 * of the server's answers; offsets count UTF-16 code units. `changed(text)`: called after each edit.
 * `format()`: called for Shift-Alt-F. `nonce`: of the page, for the editor's own styles.
 */
export function create(parent, options) {
  const language = StreamLanguage.define({ ...tokensOf(options.words), tokenTable: TOKENS });
  const view = new EditorView({
    parent,
    state: EditorState.create({
      doc: options.text ?? "",
      extensions: [
        EditorView.cspNonce.of(options.nonce ?? ""),
        lineNumbers(),
        history(),
        drawSelection(),
        highlightActiveLine(),
        bracketMatching(),
        closeBrackets(),
        indentUnit.of("  "),
        indentService.of(indentation),
        language,
        syntaxHighlighting(COLOURS),
        THEME,
        EditorView.lineWrapping,
        EditorView.contentAttributes.of({ "aria-label": options.label ?? "policy", "data-testid": "editor" }),
        linter(async (view) => {
          const found = await options.check(view.state.doc.toString());
          return (found ?? []).map((one) => marked(one, view.state.doc.length));
        }, { delay: 200 }),
        lintGutter(),
        autocompletion({ override: [completions(options.complete)] }),
        hovers(options.hover),
        Prec.high(
          keymap.of([
            { key: "Shift-Alt-f", run: () => (options.format(), true) },
            { key: "Tab", run: acceptCompletion },
          ]),
        ),
        keymap.of([...completionKeymap, ...lintKeymap, ...historyKeymap, ...defaultKeymap]),
        EditorView.updateListener.of((update) => {
          if (update.docChanged) options.changed(update.state.doc.toString());
        }),
      ],
    }),
  });
  return {
    text: () => view.state.doc.toString(),
    /** Replaces the text; one undo brings the old one back. */
    replace(text) {
      if (text === view.state.doc.toString()) return;
      view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text } });
    },
    /** Moves to an offset and shows it. */
    reveal(offset) {
      view.dispatch({ selection: { anchor: Math.min(offset, view.state.doc.length) }, scrollIntoView: true });
      view.focus();
    },
    check: () => forceLinting(view),
    focus: () => view.focus(),
  };
}
