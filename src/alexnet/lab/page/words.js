// The words of the page, in English and traditional Chinese. Both have the same keys (tests/lab/test_page.py).
export const WORDS = {
  en: {
    title: "AlexNet lab",
    language: "Language",
    net: "Run {run}: recipe {recipe}, {classes} classes, pictures of {side} pixels, views of {size}.",
    picture: "Picture",
    "picture-help": "Drop a picture here, paste one, or choose a file. It goes to the computer that runs alexnet serve, and is not kept.",
    choose: "Choose a file",
    waiting: "The net looks at the picture.",
    shown: "The likeliest class is {class}, {percent}.",
    failed: "The picture cannot be shown: {why}",
    gone: "The server does not answer. Start alexnet serve again.",
    views: "Ten views",
    "views-help": "The net sees four corners and the centre, and the mirror image of each. The answer is the mean of their probabilities (section 4.1). Move to a view to see its frame.",
    mean: "Mean of the ten views",
    "top-left": "top left", "top-right": "top right", centre: "centre", "bottom-left": "bottom left", "bottom-right": "bottom right",
    mirrored: "{place}, mirrored",
    whole: "whole picture",
  },
  "zh-Hant": {
    title: "AlexNet 實驗室",
    language: "語言",
    net: "訓練結果 {run}：配方 {recipe}，{classes} 個類別，圖片邊長 {side} 像素，視圖邊長 {size} 像素。",
    picture: "圖片",
    "picture-help": "把圖片拖到這裡、貼上，或選擇檔案。圖片只送到執行 alexnet serve 的電腦，不會保存。",
    choose: "選擇檔案",
    waiting: "網路正在看這張圖片。",
    shown: "最可能的類別是 {class}，{percent}。",
    failed: "無法顯示這張圖片：{why}",
    gone: "伺服器沒有回應。請重新執行 alexnet serve。",
    views: "十個視圖",
    "views-help": "網路看四個角落和中央，以及各自的鏡像。答案是這些機率的平均（第 4.1 節）。移到某個視圖就能看到它的框。",
    mean: "十個視圖的平均",
    "top-left": "左上", "top-right": "右上", centre: "中央", "bottom-left": "左下", "bottom-right": "右下",
    mirrored: "{place}，鏡像",
    whole: "整張圖片",
  },
};

let chosen = "en";

export function choose(language) {
  chosen = WORDS[language] ? language : "en";
  document.documentElement.lang = chosen;
  for (const element of document.querySelectorAll("[data-words]")) element.textContent = say(element.dataset.words);
  document.title = say("title");
}

export function say(key, values = {}) {
  return WORDS[chosen][key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}
