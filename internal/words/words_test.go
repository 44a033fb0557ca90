package words

import (
	"slices"
	"strings"
	"testing"
)

func TestOf(t *testing.T) {
	for name, want := range map[string][]string{
		"Carla Núñez":                  {"carla", "nunez"},
		"ANA ana Ana":                  {"ana"},
		"mary.o_brien-2":               {"2", "brien", "mary", "o"},
		"Łukasz Đặng SØREN":            {"dang", "lukasz", "soren"},
		"Weiß GROẞ Æsa Ǿ Þór":          {"aesa", "gross", "o", "thor", "weiss"},
		"Дмитрий":                      {"дмитрии"},
		"ΟΔΥΣΣΕΥΣ Οδυσσεύς":            {"οδυσσευσ"},
		"İstanbul ISTANBUL ı":          {"i", "istanbul"},
		"مُحَمَّد":                     {"محمد"},
		"山田 優希":                        {"優希", "山田", "希", "田"},
		"한글":                           {"\u1112\u1161\u11ab\u1100\u1173\u11af"},
		"ﬁnn Ⅳ １２":                     {"12", "finn", "iv"},
		"🎉 ... \u202e\x00":             nil,
		"":                             nil,
		"zwj\u200djoined":              {"zwjjoined"},
		"bad \xff utf8":                {"bad", "utf8"},
		strings.Repeat("é", 40) + " b": {"b", strings.Repeat("e", 32)},
	} {
		if got := Of(name); !slices.Equal(got, want) {
			t.Errorf("the words of %q are %q, want %q", name, got, want)
		}
	}
	if got, want := Of("Ana Lima", "lima.ana"), []string{"ana", "lima"}; !slices.Equal(got, want) {
		t.Errorf("the words of two names are %q, want %q", got, want)
	}
}

func TestAsked(t *testing.T) {
	for find, want := range map[string][]string{
		"@bob":         {"bob"},
		"li ANA lim":   {"ana", "lim", "li"},
		"o'brien":      {"brien", "o"},
		"優希":           {"優希"},
		" \t!?":        {},
		"a b c d":      {"a", "b", "c", "d"},
		"mary.o_brien": {"brien", "mary", "o"},
	} {
		if got := Asked(find); !slices.Equal(got, want) {
			t.Errorf("%q asks for %q, want %q", find, got, want)
		}
	}
}

func TestBegun(t *testing.T) {
	have := Of("Anabel Anastasia Lima", "ana")
	for asked, want := range map[string]string{
		"ana": "ana", "anas": "anastasia", "a": "ana", "lim": "lima", "lima": "lima", "limas": "", "z": "", "b": "",
	} {
		if got := Begun(have, asked); got != want {
			t.Errorf("%q begins %q, want %q", asked, got, want)
		}
	}
	if got := Begun(nil, "a"); got != "" {
		t.Errorf("of no words %q begins with a", got)
	}
}
