// Bundles the editor into one file of the package, with the licences of everything in it and with digests,
// so that a test sees whether the committed file is made of the committed sources.

import { createHash } from "node:crypto";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";

const SOURCES = ["build.js", "editor.js", "package.json", "package-lock.json", "tokens.js"];
const ASSETS = "../../dsldec/tools/playing/assets";

const result = await build({
  entryPoints: ["editor.js"],
  bundle: true,
  charset: "ascii",
  format: "iife",
  globalName: "dsldecEditor",
  legalComments: "none",
  metafile: true,
  minify: true,
  outfile: `${ASSETS}/editor.js`,
  target: "es2022",
});

const packages = new Set();
for (const input of Object.keys(result.metafile.inputs)) {
  const found = /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input);
  if (found) packages.add(found[1]);
}
const licences = [...packages].sort().map((name) => {
  const folder = join("node_modules", name);
  const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const file = readdirSync(folder).find((one) => /^licen[cs]e/i.test(one));
  if (!file) throw new Error(`${name} has no licence file`);
  return `${name} ${version} (${license})\n\n${readFileSync(join(folder, file), "utf8").trim()}\n`;
});
writeFileSync(
  `${ASSETS}/editor.licenses.txt`,
  `editor.js is a bundle of these packages and of editors/codemirror.\n\n${licences.join(`\n${"-".repeat(78)}\n\n`)}`,
);

const digest = (file) => createHash("sha256").update(readFileSync(file)).digest("hex");
const digests = Object.fromEntries(SOURCES.map((file) => [`editors/codemirror/${file}`, digest(file)]));
digests["dsldec/tools/playing/assets/editor.js"] = digest(`${ASSETS}/editor.js`);
writeFileSync("digests.json", `${JSON.stringify(digests, null, 2)}\n`);
