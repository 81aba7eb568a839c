// One scenario: all servers at once, of which one has work at a time.

import { Generator, Server } from "./processes.mjs";

/**
 * @typedef {object} Measurement
 * @property {number[]} figures - One per round: per second of server CPU, or bytes.
 * @property {number[]} perSecond - The same per second on the clock.
 * @property {number[]} serverBusy - Share of the time in which the server had the CPU.
 * @property {number[]} generatorBusy
 * @property {boolean} [isUnsettled] - Still getting faster when its time to warm up was over.
 * @property {string} [failure]
 */

/** A server under load from a generator of its own, which keeps its compiled code warm. */
class Bench {
  /** @type {Measurement} */
  measurement = { figures: [], perSecond: [], serverBusy: [], generatorBusy: [] };
  #rival;
  #server;
  #generator;

  /** @param {import("./servers.mjs").Rival} rival */
  constructor(rival) {
    this.#rival = rival;
  }

  get rival() {
    return this.#rival;
  }

  get hasFailed() {
    return this.measurement.failure !== undefined;
  }

  /** @param {Server | undefined} server - One that runs already and is not stopped with the bench. */
  async start(scenario, generator, server) {
    const { command, env = {}, inPieces = false } = this.#rival;
    const { compress = false, kind, connections, depth, content, size } = scenario;
    this.#server = server ?? (await Server.start(this.#rival.name, command(scenario), env));
    const job = { kind, connections, depth, content, size, compress, inPieces };
    this.#generator = new Generator(generator, { port: this.#server.port, ...job });
  }

  /** What goes wrong with one server is its own result, not the end of the run. */
  async attempt(work) {
    if (this.hasFailed) return undefined;
    try {
      return await work();
    } catch (error) {
      this.measurement.failure = error.message;
      return undefined;
    }
  }

  /** One window; connections are opened before and closed after it. */
  async window(milliseconds) {
    await this.#generator.do("open");
    // A server may still be at work on the last handshake after it was answered.
    await pause(100);
    const before = this.#server.cpuSeconds();
    const { count, seconds, cpuSeconds } = await this.#generator.do(
      `run ${milliseconds}`,
      milliseconds + 15_000,
    );
    const serverSeconds = this.#server.cpuSeconds() - before;
    await this.#generator.do("close");
    return {
      figure: count / serverSeconds,
      perSecond: count / seconds,
      serverBusy: serverSeconds / seconds,
      generatorBusy: cpuSeconds / seconds,
    };
  }

  /** Load until the server is as fast as it gets. */
  async warmUp(milliseconds, longest) {
    if (!this.#rival.isSlowToWarm) return void (await this.window(milliseconds));
    const end = performance.now() + longest;
    let last = 0;
    while (performance.now() < end) {
      const { figure } = await this.window(3000);
      if (Math.abs(figure / last - 1) <= 0.05) return;
      last = figure;
    }
    this.measurement.isUnsettled = true;
  }

  async measure(milliseconds) {
    const { figure, ...others } = await this.window(milliseconds);
    this.measurement.figures.push(figure);
    for (const [name, value] of Object.entries(others)) this.measurement[name].push(value);
  }

  /** What the first connections load and compile is no cost of the next ones. */
  async prime(scenario, generator) {
    await this.#generator.do("open");
    await this.#generator.do("hold");
    await this.#generator.do("close");
    const server = this.#server;
    await this.#generator.stop();
    await this.start(scenario, generator, server);
  }

  /** Memory per connection, held after a collection on both sides of the difference. */
  async measureMemory(connections) {
    const before = await this.#settledBytes();
    await this.#generator.do("open", 60_000);
    await this.#generator.do("hold", 60_000);
    const after = await this.#settledBytes();
    this.measurement.figures.push((after - before) / connections);
  }

  async #settledBytes() {
    for (let i = 0; i < 2; i++) {
      this.#server.signal("SIGUSR2");
      await pause(750);
    }
    return this.#server.residentBytes();
  }

  async stop(keepsServer) {
    await this.#generator?.stop();
    if (!keepsServer) await this.#server?.stop();
  }
}

/**
 * @param {import("./scenarios.mjs").Scenario} scenario
 * @param {import("./servers.mjs").Rival[]} rivals
 * @param {object} options
 * @param {number} options.rounds
 * @param {number} options.milliseconds - Of a window.
 * @param {{ first: number, later: number }} options.warmUps - The longest for a server that is slow
 *   to warm up, in milliseconds: in its first scenario, and in a later one.
 * @param {string[]} options.generator - Its command.
 * @param {Map<string, Server>} options.warm - Servers that stay from one scenario to the next.
 * @returns {Promise<Map<string, Measurement>>}
 */
export async function measureScenario(scenario, rivals, options) {
  return scenario.kind === "idle"
    ? measureIdle(scenario, rivals, options)
    : measureLoad(scenario, rivals, options);
}

/** Rounds go through all servers, so that a slow moment of the machine hits all alike. */
async function measureLoad(scenario, rivals, options) {
  const { rounds, milliseconds, warmUps, generator, warm } = options;
  const benches = rivals.map((rival) => new Bench(rival));
  const keptKey = ({ name }) => `${name} ${scenario.compress === true}`;
  try {
    for (const bench of benches) {
      const { isSlowToWarm, name, command, env = {} } = bench.rival;
      await bench.attempt(async () => {
        const key = keptKey(bench.rival);
        const isNew = isSlowToWarm && !warm.has(key);
        if (isNew) {
          warm.set(key, await Server.start(name, command(scenario), env));
        }
        await bench.start(scenario, generator, warm.get(key));
        await bench.warmUp(Math.min(1500, milliseconds), isNew ? warmUps.first : warmUps.later);
      });
    }
    for (let round = 0; round < rounds; round++) {
      for (const bench of benches) await bench.attempt(() => bench.measure(milliseconds));
    }
  } finally {
    await Promise.all(
      benches.map((bench) => {
        const isKept = !bench.hasFailed && warm.has(keptKey(bench.rival));
        if (!isKept) warm.delete(keptKey(bench.rival));
        return bench.stop(isKept);
      }),
    );
  }
  return new Map(benches.map(({ rival, measurement }) => [rival.name, measurement]));
}

/**
 * Each on its own in a fresh process, because memory that was used before would be used again; and
 * once, because after a collection it hardly varies.
 */
async function measureIdle(scenario, rivals, { generator }) {
  const results = new Map();
  for (const rival of rivals) {
    const bench = new Bench(rival);
    await bench.attempt(async () => {
      await bench.start({ ...scenario, connections: 100 }, generator, undefined);
      await bench.prime(scenario, generator);
      await bench.measureMemory(scenario.connections);
    });
    await bench.stop(false);
    results.set(rival.name, bench.measurement);
  }
  return results;
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
