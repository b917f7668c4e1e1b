// Read a picture of a digit, show it, send it over REST, and print what the model takes it for.
//
//     npm ci --prefix examples/keras_rest
//     node examples/keras_rest/client.mjs examples/keras_rest/test_pic_tag_5.png http://localhost:8501/v1/models/MLP

import { Jimp } from "jimp";
import superagent from "superagent";

const SIDE = 28;
const [path, url = "http://localhost:8501/v1/models/MLP"] = process.argv.slice(2);
if (!path) {
  console.error("usage: node client.mjs PICTURE [URL]");
  process.exit(2);
}

const read = await Jimp.read(path).catch((error) => {
  console.error(`${path} is no picture: ${error.message}`);
  process.exit(1);
});
const picture = read.resize({ w: SIDE, h: SIDE }).greyscale();
// Paper is white in the picture; the model learned from ink: 1 where there is ink, 0 where there is none.
const ink = Array.from({ length: SIDE }, (_, y) =>
  Array.from({ length: SIDE }, (_, x) => [1 - picture.bitmap.data[4 * (y * SIDE + x)] / 255]),
);
for (const row of ink) console.log(row.map(([value]) => (value > 0.5 ? "##" : " .")).join(""));

try {
  const metadata = await superagent.get(`${url}/metadata`);
  const answer = await superagent.post(`${url}:predict`).send({ instances: [ink] });
  const scores = answer.body.predictions[0];
  const digit = scores.indexOf(Math.max(...scores));
  console.log(`We guess the number is ${digit}, the probability is ${scores[digit].toFixed(9)}`);
  console.log(`Answered by version ${metadata.body.model_spec.version} of ${metadata.body.model_spec.name}`);
} catch (error) {
  console.error(`${url}: ${error.response?.body?.error ?? error.message}`);
  process.exit(1);
}
