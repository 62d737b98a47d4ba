import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";

import { INTERVAL, poll } from "./poller.js";
import { Sandbox } from "./sandbox.js";

let sandbox: Sandbox;
before(async () => void (sandbox = await Sandbox.start()));
after(() => sandbox.stop());
beforeEach(() => sandbox.reset());
afterEach(() => sandbox.verify());

test("a rate limit and a reset do not end the wait", async () => {
  const job = await sandbox.createJob([["queueing", "1 poll"], ["processing", "2h"]]);
  const statuses = poll(sandbox.url, sandbox.key, job, sandbox.advance);
  assert.equal((await statuses.next()).value, "queueing");
  await sandbox.inject("rate-limited-2");
  await sandbox.inject("reset-before-headers");
  assert.equal((await statuses.next()).value, "processing");
  assert.deepEqual(sandbox.pauses, [INTERVAL, 2, INTERVAL]);
  let last;
  for await (const status of statuses) last = status;
  assert.equal(last, "completed");
});

test("an unknown job is an error", async () => {
  const statuses = poll(sandbox.url, sandbox.key, "no-such-job", sandbox.advance);
  await assert.rejects(statuses.next(), /code 1008/);
});
