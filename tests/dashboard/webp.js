// A screenshot as a small WebP, for the README: the browser itself encodes it.
"use strict";
const fs = require("fs");
module.exports = async (browser, png, path, width) => {
  const page = await browser.newPage();
  const text = await page.evaluate(async ([data, wide]) => {
    const image = new Image();
    image.src = "data:image/png;base64," + data;
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = wide;
    canvas.height = Math.round((image.height * wide) / image.width);
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    return canvas.toDataURL("image/webp", 0.8);
  }, [png.toString("base64"), width]);
  fs.writeFileSync(path, Buffer.from(text.split(",")[1], "base64"));
  await page.close();
};
