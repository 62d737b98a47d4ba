// Starts `akool sandbox` for the tests. The variable AKOOL selects another program than the one on the path.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

export class Sandbox {
  readonly key = "sandbox-key-000000000000";
  pauses: number[] = [];

  private constructor(
    readonly url: string,
    private readonly process: ChildProcess,
  ) {}

  static async start(): Promise<Sandbox> {
    const args = ["sandbox", "--listen", "127.0.0.1:0", "--json"];
    const child = spawn(process.env["AKOOL"] ?? "akool", args, { stdio: ["ignore", "pipe", "inherit"] });
    const ended = once(child, "exit").then(() => assert.fail("akool sandbox has ended"));
    const [line] = await Promise.race([once(createInterface(child.stdout), "line"), ended]); // the event `listening`
    return new Sandbox(JSON.parse(line).url, child);
  }

  async stop(): Promise<void> {
    const ended = once(this.process, "exit");
    this.process.kill();
    await ended;
  }

  /** Sends a request to the control API, which openapi/sandbox.yaml describes. */
  async control(method: string, path: string, body?: object): Promise<any> {
    const headers = { "content-type": "application/json" };
    const init = body ? { method, headers, body: JSON.stringify(body) } : { method };
    const response = await fetch(`${this.url}/__sandbox/${path}`, init);
    const text = await response.text();
    assert.ok(response.ok, text);
    return text ? JSON.parse(text) : undefined;
  }

  /** Returns to the initial state, with a stopped clock. */
  async reset(): Promise<void> {
    this.pauses = [];
    await this.control("POST", "reset");
    await this.control("PATCH", "clock", { stopped: true });
  }

  /** Fails if the requests of the test were wrong, or if a fault did not happen. */
  async verify(): Promise<void> {
    assert.deepEqual((await this.control("GET", "violations")).violations, []);
    assert.deepEqual((await this.control("GET", "faults")).faults, []);
  }

  async createJob(steps: [status: string, span: string][], end = "completed"): Promise<string> {
    const job = { steps: steps.map(([status, span]) => ({ status, for: span })), end };
    return (await this.control("POST", "jobs", job)).id;
  }

  async inject(fault: string, on = "polls", times = 1): Promise<void> {
    await this.control("POST", "faults", { on, fault, times });
  }

  /** Sets the clock of the sandbox forward. A test passes this in place of a timer. */
  advance = async (seconds: number): Promise<void> => {
    this.pauses.push(seconds);
    await this.control("PATCH", "clock", { advance_seconds: seconds });
  };
}
