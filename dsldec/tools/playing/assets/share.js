// A policy with its settings as the fragment of an address. A browser sends no fragment to a server.

"use strict";

const dsldecShare = (() => {
  const LONGEST = 8000; // characters of a fragment: longer addresses break in mail and chat
  const LARGEST = 200000; // characters after it is unpacked
  const FORM = "#policy=1.";

  async function through(bytes, stream, most) {
    const reader = new Blob([bytes]).stream().pipeThrough(stream).getReader();
    const parts = [];
    for (let size = 0; ; ) {
      const { done, value } = await reader.read();
      if (done) break;
      size += value.length;
      if (size > most) throw new Error("too large");
      parts.push(value);
    }
    return new Uint8Array(await new Blob(parts).arrayBuffer());
  }

  /** The fragment of a state; null if it is too long for a link. */
  async function fragmentOf(state) {
    const bytes = new TextEncoder().encode(JSON.stringify(state));
    const packed = await through(bytes, new CompressionStream("deflate-raw"), Infinity);
    let binary = "";
    for (const byte of packed) binary += String.fromCharCode(byte);
    const text = btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
    return FORM.length + text.length > LONGEST ? null : FORM + text;
  }

  /** The state of a fragment; null for a fragment that is none, or is damaged. Untrusted: every field is checked. */
  async function stateOf(fragment) {
    if (!fragment.startsWith(FORM) || fragment.length > LONGEST) return null;
    try {
      const binary = atob(fragment.slice(FORM.length).replaceAll("-", "+").replaceAll("_", "/"));
      const packed = Uint8Array.from(binary, (one) => one.charCodeAt(0));
      const bytes = await through(packed, new DecompressionStream("deflate-raw"), LARGEST);
      return checked(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)));
    } catch {
      return null;
    }
  }

  function checked(found) {
    if (typeof found !== "object" || found === null || typeof found.text !== "string") return null;
    const values = {};
    if (typeof found.values === "object" && found.values !== null) {
      for (const [name, value] of Object.entries(found.values).slice(0, 100)) {
        if (/^[A-Za-z_]\w*$/.test(name) && ["string", "number", "boolean"].includes(typeof value)) values[name] = value;
      }
    }
    return {
      text: found.text,
      values,
      prompt: typeof found.prompt === "string" ? found.prompt : undefined,
      gen_length: Number.isInteger(found.gen_length) ? found.gen_length : undefined,
      seed: Number.isInteger(found.seed) ? found.seed : undefined,
    };
  }

  return { fragmentOf, stateOf, FORM };
})();
