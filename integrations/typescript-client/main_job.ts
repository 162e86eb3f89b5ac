// Ranks the units of a layer with types that openapi-typescript made from `openapi.json`.
//
// `node build/main_job.js URL MODEL DATASET`: MODEL is the file of an exported network, DATASET an
// npz file. It prints the best ranking of the job and its verdict.

import { readFile } from "node:fs/promises";
import createClient from "openapi-fetch";
import type { components, paths } from "./unitrank.js";

const [url, model, dataset] = process.argv.slice(2);
const client = createClient<paths>({
  baseUrl: url,
  headers: { Authorization: `Bearer ${process.env.UNITRANK_KEY ?? "none"}` },
});

/** Returns the data of an answer. Throws the answer's problem. */
function checked<T>(answer: { data?: T; error?: { detail?: string | null } }): T {
  if (answer.data === undefined) throw new Error(answer.error?.detail ?? "the answer has no body");
  return answer.data;
}

/** The options of a request that sends the bytes of a file. */
async function bytesOf(path: string) {
  const body = await readFile(path);
  return { body: body as never, bodySerializer: () => body as BodyInit, headers: { "Content-Type": "application/octet-stream" } };
}

let net = checked(await client.PUT("/v1/models/{name}", { params: { path: { name: "typescript-net" } }, ...(await bytesOf(model)) }));
while (net.status === "inspecting") {
  net = checked(await client.GET("/v1/models/{name}", { params: { path: { name: "typescript-net" } } }));
}
checked(
  await client.PUT("/v1/datasets/{name}", { params: { path: { name: "typescript-data" } }, ...(await bytesOf(dataset)) }),
);

const request: components["schemas"]["JobRequest"] = {
  model: "typescript-net",
  layer: "relu1",
  dataset: "typescript-data",
  methods: ["conductance"],
  clusters: { by: "label" },
};
let job = checked(await client.POST("/v1/jobs", { body: request })) as components["schemas"]["Job"];
while (job.status === "queued" || job.status === "running") {
  job = checked(await client.GET("/v1/jobs/{id}", { params: { path: { id: job.id }, query: { wait: 30 } } }));
}
// Without an `Accept` header the result is JSON, never text.
const answer = await client.GET("/v1/jobs/{id}/result", { params: { path: { id: job.id } } });
const result = checked(answer) as components["schemas"]["Result"];
const best = result.leaderboard[0].ranking;
const ranking = result.rankings.find(({ id }) => id === best);
console.log(best, ranking?.overall?.verdict);
