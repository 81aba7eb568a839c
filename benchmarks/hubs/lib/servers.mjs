// The hub servers, each with the protocols that it speaks.

import { join } from "node:path";
import { folder, hasDotnet, nodeCommand } from "../../lib/servers.mjs";

/**
 * @param {{ node: string, halyard?: string, profiles?: string }} options
 * @returns {import("../../lib/measure.mjs").Rival[]}
 */
export function listRivals({ node, halyard, profiles }) {
  const onNode = (family, name) => (scenario) => [
    ...nodeCommand(node, `${scenario.name}-${name}`, profiles),
    join(folder, "hubs/servers", `${family}.mjs`),
  ];
  const inBothProtocols = (family, make) =>
    ["json", "messagepack"].map((dialect) => {
      const name = `${family}-${dialect}`;
      return { name, family, job: { dialect }, ...make(name) };
    });
  return [
    ...inBothProtocols("halyard", (name) => ({
      command: onNode("halyard", name),
      env: halyard === undefined ? {} : { HALYARD_ENTRY: halyard },
    })),
    {
      name: "socketio",
      command: onNode("socketio", "socketio"),
      // Its own default: bufferutil is an extra that one has to install.
      env: { WS_NO_BUFFER_UTIL: "1" },
      job: { dialect: "socketio" },
      lacks: ({ kind, negotiates = false }) => kind === "stream" || negotiates,
    },
    ...inBothProtocols("aspnet", () => ({
      command: () => ["dotnet", join(folder, "build/hubs-aspnet/aspnet-hub.dll")],
      isSlowToWarm: true,
      ...(!hasDotnet() && { missing: "there is no dotnet on the PATH" }),
    })),
    ...inBothProtocols("bare", (name) => ({ command: onNode("bare", name) })),
  ];
}
