import { handleUpgrades } from "halyard";
import { createSamplesApp } from "./app.js";

const port = Number(process.env.PORT ?? 5000);
if (!Number.isInteger(port) || port < 0 || port > 65_535) {
  console.error(`PORT must be a number from 0 to 65535, not "${process.env.PORT}".`);
  process.exit(1);
}

const server = createSamplesApp().listen(port);
handleUpgrades(server);

server.on("listening", () => {
  const address = server.address();
  const actual = typeof address === "object" ? address?.port : port;
  console.log(`The samples are on http://localhost:${actual}; press Ctrl+C to stop.`);
});
server.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EADDRINUSE") {
    console.error(
      `Port ${port} is in use; set another one, for example: PORT=${port + 1} npm start`,
    );
  } else if (error.code === "EACCES") {
    console.error(`Port ${port} may not be opened by this user; set another one with PORT.`);
  } else {
    console.error(error);
  }
  process.exit(1);
});
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  // Once: a second Ctrl+C ends the process at once.
  process.once(signal, () => server.close());
}
