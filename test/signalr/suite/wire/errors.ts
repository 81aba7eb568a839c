/** Differences in texts of errors that several groups meet. */
import type { Difference, Scene } from "../case.js";

/** For cases in which the library itself, and not the application, has something to say. */
export const errorNames: Difference = {
  situation: "The library itself ends a connection, with detailed errors on",
  aspNetCore: "The detail begins with the name of .NET's exception, such as `InvalidDataException`",
  halyard:
    "It begins with the name of the error's class, such as `HubProtocolError`; the sentence is the same",
  why: "The name can be looked up in the library that runs.",
};

const halyardNames: Readonly<Record<string, string>> = {
  InvalidDataException: "HubProtocolError",
  FormatException: "HubProtocolError",
  InvalidOperationException: "HubProtocolError",
  OperationCanceledException: "ConnectionClosedError",
};

/** A detail as this server words it, `dotnet` being the name that .NET gives it. */
export function named(
  scene: Scene,
  dotnet: string,
  text: string,
  halyard = halyardNames[dotnet] as string,
): string {
  return `${scene.expected({ aspNetCore: dotnet, halyard })}: ${text}`;
}

const leadingName = /^\w+Exception/;

/** Whether a pattern begins with the name of an exception, so that the case differs. */
export function namesException(pattern: RegExp): boolean {
  return leadingName.test(pattern.source);
}

/** A pattern of a detail for this server. */
export function detailOf(scene: Scene, pattern: RegExp): RegExp {
  const dotnet = leadingName.exec(pattern.source)?.[0];
  if (dotnet === undefined) return pattern;
  const halyard = halyardNames[dotnet] as string;
  return new RegExp(
    pattern.source.replace(dotnet, scene.expected({ aspNetCore: dotnet, halyard })),
  );
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
