/** Differences in texts of errors that several groups meet. */
import type { Difference, Scene } from "../case.js";

/** Violations that .NET has other names for. */
export const errorNames: Difference = {
  situation:
    "With detailed errors on: a length above 2 GB, an answer to somebody else's question, a Sequence from the future",
  aspNetCore: "`FormatException: …`, `InvalidOperationException: …`",
  halyard: "`InvalidDataException: …` with the same sentence, as for every other violation",
  why: "All of them are a peer that breaks the protocol.",
};

/** A detail as this server words it, `dotnet` being the name that .NET gives it. */
export function named(scene: Scene, dotnet: string, text: string): string {
  return `${scene.expected({ aspNetCore: dotnet, halyard: "InvalidDataException" })}: ${text}`;
}

/** Arguments that a method can't take. */
export const wrongTypes: Difference = {
  situation: "A call has arguments of the wrong type",
  aspNetCore:
    "Refused as it is read: `InvalidDataException: Error binding arguments. …`, with detailed errors",
  halyard:
    "Under a contract refused when the call's turn comes: `HubException: Argument 1: …` with what the schema says. Without a contract the method gets what was sent",
  why: "JavaScript has no types at run time; a contract has, and what it says is meant for callers.",
};
