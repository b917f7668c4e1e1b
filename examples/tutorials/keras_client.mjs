// Draw a digit, send it over REST and print what the model takes it for. Node 18 or newer, no packages.
//
//     node examples/tutorials/keras_client.mjs http://localhost:8501/v1/models/MLP

const url = process.argv[2] ?? "http://localhost:8501/v1/models/MLP";

const drawing = [
  ".######.",
  ".##.....",
  ".##.....",
  ".#####..",
  ".....##.",
  ".....##.",
  ".##..##.",
  "..####..",
];
const image = drawing.map((row) => [...row].map((pixel) => [pixel === "#" ? 1.0 : 0.0]));
drawing.forEach((row) => console.log(row));

const answer = await fetch(`${url}:predict`, {
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify({ instances: [image] }),
});
const body = await answer.json();
if (!answer.ok) throw new Error(`${answer.status}: ${body.error}`);
const scores = body.predictions[0];
const digit = scores.indexOf(Math.max(...scores));
console.log(`We guess the number is ${digit}, the probability is ${scores[digit]}`);
