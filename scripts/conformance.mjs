// `npm run conformance -- ws://…`: our conformance suite against any echo server.

import { build, installPackages } from "./setup.mjs";

installPackages();
build("test");
await import("../build/conformance/run.js");
