// `npm run wasm`: assembles src/protocol/shared-input.wat and prints what shared-input.ts has to carry.

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import createWabt from "wabt";

/** The module in base64. */
export async function assembleInputModule() {
  const wabt = await createWabt();
  const source = readFileSync(new URL("../src/protocol/shared-input.wat", import.meta.url), "utf8");
  const module = wabt.parseWat("shared-input.wat", source, { simd: true });
  module.validate();
  return Buffer.from(module.toBinary({}).buffer).toString("base64");
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  console.log((await assembleInputModule()).match(/.{1,84}/g).join("\n"));
}
