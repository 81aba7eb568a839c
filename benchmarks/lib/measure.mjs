// One scenario: all servers at once, of which one has work at a time.

import { Generator, Server } from "./processes.mjs";

/** @typedef {{ name: string, title: string, unit: string, kind: string, connections: number,
 *   compress?: boolean, heap?: boolean }} Scenario - And whatever else its generator reads. */

/**
 * @typedef {object} Rival
 * @property {string} name - What --servers takes.
 * @property {string} [family] - What --servers takes for several at once.
 * @property {(scenario: Scenario) => string[]} command
 * @property {Record<string, string>} [env]
 * @property {object} [job] - What its generator has to know beside the scenario.
 * @property {(scenario: Scenario) => boolean} [lacks] - Whether it cannot do that.
 * @property {boolean} [isSlowToWarm] - Its compiler needs most of a minute of load.
 * @property {boolean} [isExtra] - Measured only when --servers names it.
 * @property {string} [missing] - Why it cannot run here.
 */

/** @typedef {Map<string, Measurement>} Results */
/** @typedef {(scenario: Scenario, results: Results) => string} Table */

/**
 * @typedef {object} Measurement
 * @property {number[]} figures - One per round: per second of server CPU, or bytes.
 * @property {number[]} perSecond - The same per second on the clock.
 * @property {number[]} serverBusy - Share of the time in which the server had the CPU.
 * @property {number[]} generatorBusy
 * @property {number[]} [heap] - Bytes of what the collector manages, where it was asked for.
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

  /** @param {Rival} rival */
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
    const { command, env = {}, job } = this.#rival;
    this.#server = server ?? (await Server.start(this.#rival.name, command(scenario), env));
    this.#generator = new Generator(generator, { ...scenario, ...job, port: this.#server.port });
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
  async #window(milliseconds) {
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
    return { count, seconds, cpuSeconds, serverSeconds };
  }

  /**
   * Windows until the server has had the CPU for half of the length of one, but not more than four:
   * on a crowded machine one alone would compile and count next to nothing.
   */
  async #windows(milliseconds) {
    const sums = { count: 0, seconds: 0, cpuSeconds: 0, serverSeconds: 0 };
    for (let i = 0; i < 4 && sums.serverSeconds < milliseconds / 2000; i++) {
      const window = await this.#window(milliseconds);
      for (const name of Object.keys(sums)) sums[name] += window[name];
    }
    return sums;
  }

  /** Load until the server is as fast as it gets. */
  async warmUp(milliseconds, { shortest, longest }) {
    if (!this.#rival.isSlowToWarm) return void (await this.#windows(milliseconds));
    const began = performance.now();
    let last = 0;
    while (performance.now() - began < longest) {
      const { count, serverSeconds } = await this.#window(3000);
      const figure = count / serverSeconds;
      const isSettled = Math.abs(figure / last - 1) <= 0.05;
      if (isSettled && performance.now() - began >= shortest) return;
      last = figure;
    }
    this.measurement.isUnsettled = true;
  }

  async measure(milliseconds) {
    const { count, seconds, cpuSeconds, serverSeconds } = await this.#windows(milliseconds);
    this.measurement.figures.push(count / serverSeconds);
    this.measurement.perSecond.push(count / seconds);
    this.measurement.serverBusy.push(serverSeconds / seconds);
    this.measurement.generatorBusy.push(cpuSeconds / seconds);
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
  async measureMemory({ connections, heap = false }) {
    const before = await this.#settledBytes(heap);
    await this.#generator.do("open", 60_000);
    await this.#generator.do("hold", 60_000);
    const after = await this.#settledBytes(heap);
    this.measurement.figures.push((after.resident - before.resident) / connections);
    if (heap) this.measurement.heap = [(after.heap - before.heap) / connections];
  }

  async #settledBytes(asksForHeap) {
    for (let i = 0; i < 2; i++) {
      this.#server.signal("SIGUSR2");
      await pause(750);
    }
    const resident = this.#server.residentBytes();
    return { resident, heap: asksForHeap ? await this.#server.heapBytes() : 0 };
  }

  async stop(keepsServer) {
    await this.#generator?.stop();
    if (!keepsServer) await this.#server?.stop();
  }
}

/**
 * @param {Scenario} scenario
 * @param {Rival[]} rivals
 * @param {object} options
 * @param {number} options.rounds
 * @param {number} options.milliseconds - Of a window.
 * @param Record<"first" | "later", { shortest: number, longest: number }>} options.warmUps - Of
 *   servers that are slow to warm up, in milliseconds.
 * @param {string[]} options.generator - Its command.
 * @param {Map<string, Server>} options.warm - Servers that stay from one scenario to the next.
 * @returns {Promise<Results>}
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
      await bench.measureMemory(scenario);
    });
    await bench.stop(false);
    results.set(rival.name, bench.measurement);
  }
  return results;
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
