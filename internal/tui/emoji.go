package tui

import (
	"cmp"
	"slices"
	"strings"
	"sync"
)

// emojiNames are the emoji that :name: completes to: those that people use most,
// by the names they know from elsewhere.
const emojiNames = `
+1 👍|-1 👎|100 💯|alarm_clock ⏰|alien 👽|angel 😇|angry 😠|apple 🍎|arrow_down ⬇️|arrow_left ⬅️|arrow_right ➡️|arrow_up ⬆️|
art 🎨|astonished 😲|avocado 🥑|baby 👶|balloon 🎈|banana 🍌|bangbang ‼️|battery 🔋|bear 🐻|bee 🐝|beer 🍺|beers 🍻|bell 🔔|bicyclist 🚴|bike 🚲|bird 🐦|
birthday 🎂|blue_heart 💙|blush 😊|bomb 💣|book 📖|books 📚|boom 💥|bouquet 💐|bow 🙇|bowl 🥣|brain 🧠|bread 🍞|briefcase 💼|broken_heart 💔|bug 🐛|bulb 💡|
burger 🍔|bus 🚌|bust 👤|cactus 🌵|cake 🍰|calendar 📅|call_me_hand 🤙|camera 📷|candle 🕯️|car 🚗|cat 🐱|champagne 🍾|chart 📈|cheese 🧀|cherries 🍒|
chicken 🐔|chocolate 🍫|christmas_tree 🎄|clap 👏|clock 🕐|cloud ☁️|clown 🤡|cocktail 🍸|coffee ☕|cold_face 🥶|cold_sweat 😰|computer 💻|confetti_ball 🎊|confounded 😖|
confused 😕|construction 🚧|cookie 🍪|cool 😎|cow 🐮|crab 🦀|crossed_fingers 🤞|crown 👑|cry 😢|crystal_ball 🔮|cup 🥤|dancer 💃|dart 🎯|dash 💨|diamond 💎|disappointed 😞|dizzy 💫|
dog 🐶|dolphin 🐬|door 🚪|doughnut 🍩|dragon 🐉|droplet 💧|duck 🦆|ear 👂|earth 🌍|egg 🥚|eggplant 🍆|elephant 🐘|envelope ✉️|exclamation ❗|exploding_head 🤯|expressionless 😑|
eye 👁️|eyes 👀|face_palm 🤦|facepalm 🤦|fearful 😨|file 📄|fire 🔥|fireworks 🎆|fish 🐟|fist ✊|flag 🏁|flushed 😳|folder 📁|fork_and_knife 🍴|four_leaf_clover 🍀|fox 🦊|fries 🍟|frog 🐸|
frowning ☹️|game 🎮|gear ⚙️|ghost 👻|gift 🎁|giraffe 🦒|globe 🌐|grapes 🍇|green_apple 🍏|green_heart 💚|grimacing 😬|grin 😁|grinning 😀|guitar 🎸|hammer 🔨|hamster 🐹|handshake 🤝|
hand ✋|hatching_chick 🐣|headphones 🎧|heart ❤️|heart_eyes 😍|hearts ♥️|heavy_check_mark ✔️|hedgehog 🦔|herb 🌿|hibiscus 🌺|horse 🐴|hot_face 🥵|hotdog 🌭|hourglass ⌛|house 🏠|hug 🤗|hugs 🤗|
hushed 😯|ice_cream 🍨|innocent 😇|jack_o_lantern 🎃|joy 😂|key 🔑|kiss 💋|kissing_heart 😘|koala 🐨|label 🏷️|laughing 😆|leaves 🍃|lemon 🍋|lightning ⚡|link 🔗|lion 🦁|lips 👄|lock 🔒|lol 😂|
love_you 🤟|loudspeaker 📢|mag 🔍|mail 📧|map 🗺️|mask 😷|medal 🏅|mega 📣|memo 📝|microphone 🎤|monkey 🐒|money 💰|moneybag 💰|moon 🌙|mouse 🐭|muscle 💪|mushroom 🍄|musical_note 🎵|nail_care 💅|
nerd 🤓|neutral_face 😐|no_entry ⛔|no_mouth 😶|nose 👃|notebook 📓|ocean 🌊|octopus 🐙|ok ✅|ok_hand 👌|open_mouth 😮|orange_heart 🧡|owl 🦉|package 📦|palm_tree 🌴|panda 🐼|paperclip 📎|party 🥳|partying_face 🥳|
paw 🐾|pear 🍐|pencil ✏️|penguin 🐧|pensive 😔|phone 📱|pig 🐷|pill 💊|pinching_hand 🤏|pineapple 🍍|pizza 🍕|plane ✈️|pleading_face 🥺|plus ➕|point_down 👇|point_left 👈|point_right 👉|point_up ☝️|poop 💩|popcorn 🍿|
potato 🥔|pray 🙏|printer 🖨️|purple_heart 💜|pushpin 📌|question ❓|rabbit 🐰|rage 😡|rain 🌧️|rainbow 🌈|raised_hands 🙌|recycle ♻️|red_circle 🔴|relaxed ☺️|relieved 😌|repeat 🔁|robot 🤖|rocket 🚀|rofl 🤣|rolling_eyes 🙄|
rose 🌹|rotating_light 🚨|runner 🏃|salad 🥗|salute 🫡|sandwich 🥪|santa 🎅|satellite 📡|scissors ✂️|scream 😱|seedling 🌱|shark 🦈|shield 🛡️|ship 🚢|shrimp 🦐|shrug 🤷|shushing_face 🤫|sleeping 😴|sleepy 😪|sloth 🦥|
slightly_smiling_face 🙂|smile 😄|smiley 😃|smiling_face_with_tear 🥲|smirk 😏|snail 🐌|snake 🐍|snowflake ❄️|snowman ⛄|soccer ⚽|sob 😭|sos 🆘|sparkles ✨|sparkling_heart 💖|speech_balloon 💬|spider 🕷️|star ⭐|star_struck 🤩|stars 🌠|
steak 🥩|stopwatch ⏱️|strawberry 🍓|stuck_out_tongue 😛|sun ☀️|sunflower 🌻|sunglasses 😎|sunrise 🌅|sushi 🍣|sweat 😓|sweat_smile 😅|tada 🎉|taco 🌮|tea 🍵|tent ⛺|thermometer 🌡️|thinking 🤔|thread 🧵|thumbsdown 👎|thumbsup 👍|
thunder ⛈️|ticket 🎫|tiger 🐯|tired_face 😫|tomato 🍅|tools 🛠️|tooth 🦷|train 🚆|tree 🌳|triumph 😤|trophy 🏆|truck 🚚|tulip 🌷|turtle 🐢|tv 📺|two_hearts 💕|umbrella ☔|unamused 😒|unicorn 🦄|unlock 🔓|upside_down 🙃|v ✌️|
vomiting_face 🤮|warning ⚠️|watch ⌚|watermelon 🍉|wave 👋|waving 👋|weary 😩|whale 🐳|white_check_mark ✅|white_heart 🤍|wind 🌬️|wine 🍷|wink 😉|wolf 🐺|woozy_face 🥴|worried 😟|wrench 🔧|writing_hand ✍️|x ❌|yawning 🥱|yellow_heart 💛|yum 😋|zap ⚡|zipper_mouth 🤐|zzz 💤`

// emojis is made when somebody first types a colon.
var emojis = sync.OnceValue(func() (table [][2]string) {
	for entry := range strings.SplitSeq(strings.ReplaceAll(emojiNames, "\n", ""), "|") {
		if name, glyph, ok := strings.Cut(entry, " "); ok {
			table = append(table, [2]string{name, glyph})
		}
	}
	return table
})

// emojiLike are the emoji whose names have word, those that begin with it first.
func emojiLike(word string) [][2]string {
	var hits [][2]string
	for _, e := range emojis() {
		if strings.Contains(e[0], word) {
			hits = append(hits, e)
		}
	}
	slices.SortStableFunc(hits, func(a, b [2]string) int {
		return cmp.Compare(strings.Index(a[0], word), strings.Index(b[0], word))
	})
	return hits
}
