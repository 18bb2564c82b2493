// The words of a policy, in colours. Which words there are comes from Python (`word_groups`).

const STYLE_OF = {
  statements: "keyword",
  clauses: "keyword",
  operators: "operatorKeyword",
  constants: "atom",
  observations: "standard",
  words: "standard",
  kinds: "typeName",
};

/** The parser of lines for `StreamLanguage`. `groups`: the words of each group. */
export function tokensOf(groups) {
  const styles = new Map();
  for (const [group, words] of Object.entries(groups)) {
    for (const word of words) if (!styles.has(word)) styles.set(word, STYLE_OF[group] ?? "standard");
  }
  const kinds = new Set(groups.kinds);
  return {
    name: "dsldec",
    startState: () => ({ doc: false, colon: false, declares: false }),
    copyState: (state) => ({ ...state }),
    token(stream, state) {
      if (stream.sol()) state.colon = false;
      if (state.doc) return inDoc(stream, state);
      if (stream.eatSpace()) return null;
      if (stream.match('"""')) {
        state.doc = true;
        return inDoc(stream, state);
      }
      if (stream.match(/^#.*/)) return "comment";
      if (stream.match(/^"[^"]*"?/)) return "string";
      if (stream.match(/^\d+(\.\d+)?([eE][-+]?\d+)?/)) return "number";
      const word = stream.match(/^[A-Za-z_][A-Za-z0-9_]*/);
      if (!word) return sign(stream, state);
      const kind = state.colon && kinds.has(word[0]);
      const named = state.declares;
      state.colon = false;
      state.declares = word[0] === "policy" || word[0] === "def" || word[0] === "phase";
      if (named) return "definition";
      return kind ? "typeName" : (styles.get(word[0]) ?? "variableName");
    },
    languageData: { commentTokens: { line: "#" }, closeBrackets: { brackets: ["("] } },
  };
}

function inDoc(stream, state) {
  if (stream.match(/^.*?"""/)) state.doc = false;
  else stream.skipToEnd();
  return "string";
}

function sign(stream, state) {
  const one = stream.next();
  state.colon = one === ":";
  state.declares = false;
  return "(),:".includes(one) ? "punctuation" : "operator";
}
