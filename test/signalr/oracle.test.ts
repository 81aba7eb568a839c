/**
 * The suites against ASP.NET Core itself: what they expect is what it does. Only this is left out
 * where C# can't be built.
 */
import { after } from "node:test";
import { startOracle, Unavailable } from "./dotnet.js";
import { allGroups } from "./suite/all.js";
import { playAll } from "./suite/case.js";

// The certificate of the secure address is known to nobody.
process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0";

try {
  const target = await startOracle();
  after(() => target.stop());
  playAll(allGroups, target);
} catch (error) {
  if (!(error instanceof Unavailable)) throw error;
  console.log(`Left out: the suites against ASP.NET Core, because ${error.message}.`);
}
