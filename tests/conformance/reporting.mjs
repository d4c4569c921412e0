// A line of JSON for each scenario: what the command reads.
const LIMIT = 60_000; // milliseconds for one

export const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

export function report(scenario, error) {
  console.log(JSON.stringify({ scenario, error: error ? String(error.stack ?? error).slice(0, 1500) : "" }));
}

export async function runAll(scenarios, tell) {
  for (const [scenario, work] of Object.entries(scenarios)) {
    try {
      await Promise.race([work(), sleep(LIMIT).then(() => Promise.reject(new Error(`not within ${LIMIT} ms`)))]);
      tell(scenario);
    } catch (error) {
      tell(scenario, error);
    }
  }
}
