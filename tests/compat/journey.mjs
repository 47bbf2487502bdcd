// The journey of a driver in JavaScript: a refused argument, a quote, a video, its job.

const CALLS_MAX = 10;

// `call` returns what the client got; `read` returns the facts in it, and null for an error.
export async function travel(call, read, picture) {
  const request = { image: picture, prompt: "x" };
  const refused = await call("quote_price", { ...request, max_prize_usd: "1" });
  const quote = await call("quote_price", request);
  let job = await call("animate_image", request);
  const isOver = () => !read(job) || read(job).file || read(job).video_url_expires_at;
  for (let calls = 0; calls < CALLS_MAX && !isOver(); calls += 1) {
    job = await call("get_job", { job_id: read(job).job_id });
  }
  return { refused, quote, job };
}

// The text that a model reads.
export function textOf(result) {
  return result.content.filter((part) => part.type === "text").map((part) => part.text).join("\n");
}

// The report of an adapter's driver: a journey and one more look at the job.
export async function travelAndSummarise(call, read, picture) {
  const { refused, quote, job } = await travel(call, read, picture);
  const again = await call("get_job", { job_id: read(job).job_id });
  return {
    refused: textOf(refused),
    refused_is_error: Boolean(refused.isError),
    price: read(quote).price_usd,
    job: read(job),
    again: read(again),
    model_read: textOf(job),
  };
}
