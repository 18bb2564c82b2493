// Reads texts by the TextMate grammars of the extension, with the library that VS Code uses.
//
// node textmate_tokens.cjs MODULES SYNTAXES < TEXTS: TEXTS is a JSON object of lists [scope of the grammar, text] by name.
// Prints an object of the tokens by name: [line, first column, last column, scopes], counted from 0 in UTF-16 units.
const fs = require("fs");
const path = require("path");

const [modules, syntaxes] = process.argv.slice(2);
const textmate = require(path.join(modules, "vscode-textmate"));
const oniguruma = require(path.join(modules, "vscode-oniguruma"));

async function main() {
  await oniguruma.loadWASM(fs.readFileSync(path.join(modules, "vscode-oniguruma/release/onig.wasm")).buffer);
  const grammars = fs.readdirSync(syntaxes).map((name) => {
    const file = path.join(syntaxes, name);
    return textmate.parseRawGrammar(fs.readFileSync(file, "utf8"), file);
  });
  const registry = new textmate.Registry({
    onigLib: Promise.resolve({
      createOnigScanner: (patterns) => new oniguruma.OnigScanner(patterns),
      createOnigString: (text) => new oniguruma.OnigString(text),
    }),
    loadGrammar: async (scope) => grammars.find((grammar) => grammar.scopeName === scope),
  });
  const found = {};
  for (const [name, [scope, text]] of Object.entries(JSON.parse(fs.readFileSync(0, "utf8")))) {
    const grammar = await registry.loadGrammar(scope);
    let state = textmate.INITIAL;
    found[name] = [];
    text.split("\n").forEach((line, number) => {
      const result = grammar.tokenizeLine(line, state);
      state = result.ruleStack;
      for (const token of result.tokens) {
        found[name].push([number, token.startIndex, token.endIndex, token.scopes]);
      }
    });
  }
  process.stdout.write(JSON.stringify(found));
}

main();
