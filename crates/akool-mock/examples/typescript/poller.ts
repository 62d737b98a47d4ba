// The code under test: waits for a video translation.
import { setTimeout } from "node:timers/promises";

export const INTERVAL = 60;

export type Status = "queueing" | "processing" | "completed" | "failed" | "unknown";
export type Sleep = (seconds: number) => Promise<unknown>;

const STATUSES: Record<number, Status> = { 1: "queueing", 2: "processing", 3: "completed", 4: "failed" };

interface Body {
  code: number;
  msg: string;
  data?: { video_status: number };
}

/** Polls a job until it ends, and yields the status that each poll returns. */
export async function* poll(
  url: string,
  key: string,
  job: string,
  sleep: Sleep = (seconds) => setTimeout(seconds * 1000),
): AsyncGenerator<Status> {
  const target = `${url}/api/open/v3/content/video/infobymodelid?video_model_id=${encodeURIComponent(job)}`;
  for (;;) {
    let pause = INTERVAL;
    const response = await attempt(target, key);
    if (response?.status === 429) {
      pause = Number(response.headers.get("retry-after") ?? INTERVAL);
    } else if (response) {
      if (!response.ok) throw new Error(`AKOOL answered with HTTP ${response.status}`);
      const body = (await response.json()) as Body;
      if (body.code !== 1000 || !body.data) throw new Error(`AKOOL answered with code ${body.code}: ${body.msg}`);
      const status = STATUSES[body.data.video_status] ?? "unknown";
      yield status;
      if (status === "completed" || status === "failed") return;
    }
    await sleep(pause);
  }
}

/** Returns nothing if the connection fails: the next poll may succeed. */
async function attempt(target: string, key: string): Promise<Response | undefined> {
  try {
    return await fetch(target, { headers: { "x-api-key": key }, signal: AbortSignal.timeout(10_000) });
  } catch {
    return undefined;
  }
}
