// Starts the language server `dsldec lsp` for policies. Not here: the answers of the server (`dsldec lsp`), the colours (`syntaxes`).
"use strict";

const vscode = require("vscode");
const { CloseAction, ErrorAction, LanguageClient, RevealOutputChannelOn } = require("vscode-languageclient/node");

const MOST_RESTARTS = 3;
const SETTING = "Open the setting";
const OUTPUT = "Show the output";

let client;

async function start() {
  const command = vscode.workspace.getConfiguration("dsldec").get("command") || "dsldec";
  let running = false;
  let restarts = 0;
  const mine = new LanguageClient(
    "dsldec",
    "dsldec",
    // Without `transport`, the client talks over standard input and output, and adds no argument.
    { command, args: ["lsp"] },
    {
      documentSelector: ["dsldec", "dsldec-cases"].flatMap((language) =>
        ["file", "untitled"].map((scheme) => ({ scheme, language })),
      ),
      revealOutputChannelOn: RevealOutputChannelOn.Never,
      // One message says that it does not start (below), so the client's own ones are left out.
      initializationFailedHandler: () => false,
      errorHandler: {
        error: () => ({ action: ErrorAction.Continue, handled: true }),
        closed: () => {
          restarts += 1;
          if (running && restarts <= MOST_RESTARTS) {
            return { action: CloseAction.Restart, handled: true };
          }
          if (running) {
            explain(mine, `\`${command} lsp\` ended ${restarts} times.`);
          }
          return { action: CloseAction.DoNotRestart, handled: true };
        },
      },
    },
  );
  client = mine;
  try {
    await mine.start();
    running = true;
  } catch (error) {
    client = undefined;
    explain(
      mine,
      `\`${command} lsp\` does not start: ${error.message ?? error}. ` +
        'Type `pip install "dsldec[lsp]"`, or set `dsldec.command` to the path of the command.',
    );
  }
}

async function explain(failed, message) {
  const answer = await vscode.window.showErrorMessage(message, SETTING, OUTPUT);
  if (answer === SETTING) {
    await vscode.commands.executeCommand("workbench.action.openSettings", "dsldec.command");
  } else if (answer === OUTPUT) {
    failed.outputChannel.show();
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
