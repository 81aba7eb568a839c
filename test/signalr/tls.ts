/** A certificate for tests, signed by itself. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

let made: { certificatePath: string; keyPath: string } | undefined;

/** The files of a certificate for localhost, made once for each process and deleted at its end. */
export function selfSigned() {
  if (made !== undefined) return made;
  const directory = mkdtempSync(join(tmpdir(), "halyard-signalr-"));
  process.once("exit", () => rmSync(directory, { recursive: true, force: true }));
  const [keyPath, certificatePath] = [join(directory, "key.pem"), join(directory, "cert.pem")];
  execFileSync(
    "openssl",
    [
      ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
      ...["-days", "2", "-subj", "/CN=localhost", "-addext"],
      ...["subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout", keyPath, "-out", certificatePath],
    ],
    { stdio: "ignore" },
  );
  made = { certificatePath, keyPath };
  return made;
}

/** What {@link selfSigned} made, read. */
export function selfSignedPems(): { cert: Buffer; key: Buffer } {
  const { certificatePath, keyPath } = selfSigned();
  return { cert: readFileSync(certificatePath), key: readFileSync(keyPath) };
}
