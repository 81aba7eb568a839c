import {
  type Case,
  type Group,
  getText,
  observed,
  type Scene,
  tokenFor,
  uniqueName,
} from "../case.js";
import type { ProtocolName } from "../clients.js";
import { type HubPeer, openHub } from "../hub-peer.js";

/** Who gets what, among connections that speak different protocols. */
interface Crowd {
  readonly sender: HubPeer;
  readonly others: readonly [HubPeer, HubPeer, HubPeer];
}

/** All cases of this group run one by one: their hub is theirs alone. */
async function gather(scene: Scene): Promise<Crowd> {
  const open = async (protocol: ProtocolName, user?: string) => {
    const token = user === undefined ? undefined : await tokenFor(scene, { user });
    const peer = await openHub(scene, "/crowd", { protocol, token });
    // The handshake is answered before the hub knows the connection.
    await observed(scene, peer.connectionId, "connected");
    return peer;
  };
  return {
    sender: await open("json", "anna"),
    others: [
      await open("messagepack", "ben"),
      await open("json", "ben"),
      await open("json", "Ben"),
    ],
  };
}

/** Exactly these get the text; a last message to each shows that nothing else came. */
async function reaches(
  scene: Scene,
  { sender, others }: Crowd,
  send: (text: string) => Promise<unknown>,
  receivers: readonly HubPeer[],
): Promise<void> {
  const text = uniqueName();
  const sent = send(text);
  const end = uniqueName();
  const all = [sender, ...others];
  for (const peer of receivers) {
    if (peer === sender) continue;
    await peer.expect({ type: 1, target: "Message", arguments: [text] });
  }
  await sent;
  await getText(scene, `/outside/all/${end}`);
  for (const peer of all) await peer.expect({ type: 1, target: "Message", arguments: [end] });
}

/** Calls a method of the sender, who may get the message himself. */
function caller({ sender }: Crowd, isReceiver: boolean, target: string, ...args: unknown[]) {
  return async (text: string) => {
    const invocationId = sender.start(target, ...args, text);
    if (isReceiver) await sender.expect({ type: 1, target: "Message", arguments: [text] });
    await sender.expect({ type: 3, invocationId, result: null });
  };
}

type Row = [
  title: string,
  target: string,
  args: (crowd: Crowd) => unknown[],
  /** The sender is 0. */
  receivers: readonly number[],
];

const id = (crowd: Crowd, index: number) =>
  (index === 0 ? crowd.sender : (crowd.others[index - 1] as HubPeer)).connectionId;

const rows: readonly Row[] = [
  ["all", "SendToAll", () => [], [0, 1, 2, 3]],
  ["all but some", "SendToAllExcept", (crowd) => [[id(crowd, 1), "nobody"]], [0, 2, 3]],
  ["all but nobody", "SendToAllExcept", () => [[]], [0, 1, 2, 3]],
  ["others", "SendToOthers", () => [], [1, 2, 3]],
  ["one", "SendToClient", (crowd) => [id(crowd, 1)], [1]],
  ["nobody", "SendToClient", () => ["nobody"], []],
  ["some", "SendToClients", (crowd) => [[id(crowd, 0), id(crowd, 2), "nobody"]], [0, 2]],
  ["a user with two connections", "SendToUser", () => ["ben"], [1, 2]],
  ["a user in another case of letters", "SendToUser", () => ["Ben"], [3]],
  ["users", "SendToUsers", () => [["anna", "Ben", "nobody"]], [0, 3]],
  ["a group that nobody is in", "SendToGroup", () => ["nobody's"], []],
];

/** A message for which arguments are made in the order that the hub's method wants. */
const cases: readonly Case[] = [
  ...rows.map(
    ([title, target, args, receivers]): Case => ({
      title,
      async run(scene) {
        const crowd = await gather(scene);
        const all = [crowd.sender, ...crowd.others];
        await reaches(
          scene,
          crowd,
          caller(crowd, receivers.includes(0), target, ...args(crowd)),
          receivers.map((index) => all[index] as HubPeer),
        );
      },
    }),
  ),
  {
    title: "groups",
    async run(scene) {
      const crowd = await gather(scene);
      const { sender, others } = crowd;
      const [first, second, third] = others;
      const group = "a group";
      await sender.invoke("Join", group);
      await first.invoke("Join", group);
      await first.invoke("Join", group);
      await second.invoke("Join", group.toUpperCase());
      await sender.invoke("JoinFor", third.connectionId, "another");
      await sender.invoke("JoinFor", "nobody", "another");
      const send = (isReceiver: boolean, target: string, ...args: unknown[]) =>
        caller(crowd, isReceiver, target, ...args);
      await reaches(scene, crowd, send(true, "SendToGroup", group), [sender, first]);
      await reaches(scene, crowd, send(false, "SendToOthersInGroup", group), [first]);
      const except = [sender.connectionId];
      await reaches(scene, crowd, send(false, "SendToGroupExcept", group, except), [first]);
      await reaches(scene, crowd, send(false, "SendToGroup", "A GROUP"), [second]);
      const groups = [group, "another"];
      await reaches(scene, crowd, send(true, "SendToGroups", groups), [sender, first, third]);
      await first.invoke("Leave", group);
      await first.invoke("Leave", group);
      await reaches(scene, crowd, send(true, "SendToGroup", group), [sender]);
    },
  },
  {
    title: "a member that leaves the hub leaves its groups",
    async run(scene) {
      const crowd = await gather(scene);
      const [first] = crowd.others;
      await first.invoke("Join", "a group");
      await crowd.sender.invoke("Join", "a group");
      first.socket.close();
      await observed(scene, first.connectionId, "disconnected");
      const rest = { sender: crowd.sender, others: crowd.others.slice(1) } as unknown as Crowd;
      await reaches(scene, rest, caller(rest, true, "SendToGroup", "a group"), [rest.sender]);
    },
  },
];

/** From outside a hub. */
const outsideCases: readonly Case[] = [
  {
    title: "from outside: a group and a user",
    async run(scene) {
      const user = uniqueName();
      const token = await tokenFor(scene, { user });
      const peer = await openHub(scene, "/wire", { token });
      const group = uniqueName();
      await peer.invoke("Join", group);
      await getText(scene, `/outside/group/${group}/one`);
      await getText(scene, `/outside/user/${user}/two`);
      await peer.expect(
        { type: 1, target: "Message", arguments: ["one"] },
        { type: 1, target: "Message", arguments: ["two"] },
      );
    },
  },
];

export const crowdGroups: readonly Group[] = [
  { title: "who is reached (§13)", cases, concurrency: 1 },
  { title: "from outside (§13)", cases: outsideCases },
];
