// `npm start`: the samples on http://localhost:5000.

import { build, installPackages } from "./setup.mjs";

installPackages();
build("samples");
await import("../build/samples/main.js");
