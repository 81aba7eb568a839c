import { fileURLToPath } from "node:url";
import type { Middleware } from "koa";
import serve from "koa-static";

/**
 * Serves the files of a folder below a path.
 *
 * @param at - Begins and ends with a slash.
 * @param folder - An address, such as `import.meta.resolve` gives.
 */
export function files(at: string, folder: string | URL): Middleware {
  const serveFile = serve(fileURLToPath(folder));
  return async (ctx, next) => {
    const { path } = ctx;
    if (!path.startsWith(at)) return next();
    ctx.path = path.slice(at.length - 1);
    await serveFile(ctx, async () => {});
    ctx.path = path;
  };
}
