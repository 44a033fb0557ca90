// The picker's emoji, by group, each with the words it is found by. Loaded when
// the picker is first opened. Everything else can be typed with the system's own.
const groups: Record<string, string> = {
  "Faces": `😀 grin happy|😄 smile happy|😁 beaming|😅 sweat phew|😂 joy tears laugh|🤣 rofl laugh floor|🙂 slight smile|🙃 upside down|😉 wink|😊 blush smile|😇 angel halo|🥰 love hearts|😍 heart eyes love|😘 kiss|😋 yum tasty|😜 tongue wink crazy|🤪 zany crazy|🤗 hug|🤭 oops giggle|🤫 quiet shh|🤔 thinking hmm|🤨 eyebrow doubt|😐 neutral|😑 expressionless|😶 no mouth silent|😏 smirk|😒 unamused|🙄 eye roll|😬 grimace|😌 relieved|😔 pensive sad|😴 sleep tired|🤒 ill sick thermometer|🤕 hurt bandage|🤢 nausea sick|🤧 sneeze cold|🥵 hot|🥶 cold freezing|😵 dizzy|🤯 mind blown|🥳 party celebrate|😎 cool sunglasses|🤓 nerd|🧐 monocle inspect|😕 confused|🙁 frown sad|😮 wow open mouth|😲 astonished|😳 flushed|🥺 please puppy eyes|😢 cry sad|😭 sob cry|😱 scream fear|😤 huff|😡 angry rage|🤬 swearing|😈 devil|💀 skull dead|🤖 robot bot|👻 ghost|💩 poo`,
  "Hands and people": `👍 thumbs up yes +1 ok|👎 thumbs down no -1|👌 ok perfect|✌️ victory peace|🤞 fingers crossed luck|🤟 love you|🤘 rock|👋 wave hello bye|🖐️ hand five|✋ stop hand|👏 clap bravo|🙌 hooray hands|🙏 please thanks pray|🤝 handshake deal|💪 strong muscle|👀 eyes look|👉 point right|👈 point left|👆 point up|👇 point down|☝️ one up|✍️ write|🤷 shrug|🤦 facepalm|🙋 raise hand me|🧑‍💻 coder computer|🕵️ detective|💃 dance|🏃 run`,
  "Hearts and marks": `❤️ heart love red|🧡 orange heart|💛 yellow heart|💚 green heart|💙 blue heart|💜 purple heart|🖤 black heart|💔 broken heart|💯 hundred perfect|✅ check done yes|☑️ check box|❌ cross no wrong|❗ exclamation|❓ question|⚠️ warning|🚫 forbidden|➕ plus|➖ minus|🔴 red circle|🟡 yellow circle|🟢 green circle|🔵 blue circle|⭐ star|✨ sparkles|🔥 fire hot|💥 boom|💡 idea bulb|💬 speech chat|🎯 target|🏁 finish flag`,
  "Things": `🎉 tada party|🎂 cake birthday|🎁 gift present|🏆 trophy win|🥇 gold medal|🎵 music note|📎 paperclip|📌 pin|📅 calendar date|⏰ alarm clock|⏳ hourglass wait|🔒 lock|🔑 key|🔧 wrench fix|🔨 hammer|⚙️ gear|🧪 test tube|🐛 bug|🚀 rocket ship launch|💻 laptop|📱 phone|☎️ telephone|📧 mail|📦 package|📈 chart up|📉 chart down|📝 memo note|📚 books|🗑️ trash|💰 money`,
  "Nature and food": `☀️ sun|🌙 moon|☁️ cloud|🌧️ rain|❄️ snow cold|🌈 rainbow|⚡ lightning|🌊 wave sea|🌱 seedling plant|🌹 rose|🌳 tree|🐶 dog|🐱 cat|🦊 fox|🐻 bear|🐼 panda|🦁 lion|🐸 frog|🐵 monkey|🐧 penguin|🦆 duck|🦉 owl|🐟 fish|🐙 octopus|🐢 turtle|🦄 unicorn|🐝 bee|🦋 butterfly|☕ coffee|🍵 tea|🍺 beer|🍷 wine|🍕 pizza|🍔 burger|🍟 fries|🌮 taco|🍣 sushi|🍎 apple|🍌 banana|🍓 strawberry|🥑 avocado|🍞 bread|🧀 cheese|🍫 chocolate|🍪 cookie`,
  "Places": `🏠 house home|🏢 office|🏖️ beach holiday|⛰️ mountain|🚗 car|🚲 bike|🚂 train|✈️ plane|⛵ boat sail|⚓ anchor port|🗺️ map|🌍 world earth|🏳️ white flag|🏴‍☠️ pirate flag`,
};

export interface Emoji {
  char: string;
  words: string;
}

export const emoji: { group: string; list: Emoji[] }[] = Object.entries(groups).map(([group, list]) => ({
  group,
  list: list.split("|").map((e) => {
    const i = e.indexOf(" ");
    return { char: e.slice(0, i), words: e.slice(i + 1) };
  }),
}));
