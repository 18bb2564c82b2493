// Starts the language server `dsldec lsp` for policies. Not here: what the server answers, and the colours (`syntaxes`).
"use strict";

const vscode = require("vscode");
const { LanguageClient } = require("vscode-languageclient/node");

let client;

async function start() {
  const command = vscode.workspace.getConfiguration("dsldec").get("command") || "dsldec";
  client = new LanguageClient(
    "dsldec",
    "dsldec",
    // Without `transport`, the client talks over standard input and output, and adds no argument.
    { command, args: ["lsp"] },
    { documentSelector: [{ scheme: "file", language: "dsldec" }, { scheme: "untitled", language: "dsldec" }] },
  );
  try {
    await client.start();
  } catch (error) {
    client = undefined;
    const answer = await vscode.window.showErrorMessage(
      `\`${command} lsp\` does not start: ${error.message ?? error}. ` +
        'Type `pip install "dsldec[lsp]"`, or set `dsldec.command` to the path of the command.',
      "Open the setting",
    );
    if (answer) {
      await vscode.commands.executeCommand("workbench.action.openSettings", "dsldec.command");
    }
  }
}

async function stop() {
  const stopped = client;
  client = undefined;
  await stopped?.stop();
}

async function restart() {
  await stop();
  await start();
}

async function activate(context) {
  context.subscriptions.push(
    vscode.commands.registerCommand("dsldec.restart", restart),
    vscode.workspace.onDidChangeConfiguration((event) => {
      if (event.affectsConfiguration("dsldec.command")) {
        restart();
      }
    }),
  );
  await start();
}

module.exports = { activate, deactivate: stop };
