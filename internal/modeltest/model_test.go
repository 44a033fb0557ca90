package modeltest

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

var (
	seeds = flag.Int("model.seeds", 12, "how many scenarios TestModel plays")
	seed  = flag.Uint64("model.seed", 0, "the one scenario to play (0: all)")
	first = flag.Uint64("model.first", 1, "the first seed")
)

func TestModel(t *testing.T) {
	total := map[string]int{}
	list := []uint64{*seed}
	if *seed == 0 {
		list = nil
		for i := range uint64(*seeds) {
			list = append(list, *first+i)
		}
	}
	for _, s := range list {
		t.Run(fmt.Sprint(s), func(t *testing.T) {
			v, counts := Run(t, Options{Seed: s, Crashes: true})
			if v != nil {
				t.Fatal(v)
			}
			for what, n := range counts {
				total[what] += n
			}
		})
		if t.Failed() {
			break
		}
	}
	t.Log(tally(total))
}

func tally(counts map[string]int) string {
	var b strings.Builder
	for _, what := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(&b, "%d %s, ", counts[what], what)
	}
	return strings.TrimSuffix(b.String(), ", ")
}
