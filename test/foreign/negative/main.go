// Computes a proof that no P0 job went to a cloud again, from the tiles of a log, with Go's own transparency log packages and
// nothing of ours.
//
//	negative FOLDER VERIFIER-KEY PROOF
//
// It opens the checkpoint in the proof by the key, proves every entry against it, applies the rules to all of them, and
// compares. It prints "ok ENTRIES P0-ENTRIES", or says why not and ends with 1.
package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

type target struct {
	Index int64   `json:"index"`
	Type  string  `json:"type"`
	Job   string  `json:"job_id"`
	Node  *string `json:"node_id"`
	Layer *string `json:"layer"`
	Why   string  `json:"why,omitempty"`
}

type proof struct {
	Format     string           `json:"format"`
	From       time.Time        `json:"from"`
	To         time.Time        `json:"to"`
	Checkpoint string           `json:"checkpoint"`
	Size       int64            `json:"size"`
	First      int64            `json:"first"`
	Counts     map[string]int64 `json:"counts"`
	P0         []target         `json:"p0"`
	Violations []target         `json:"violations"`
	Holds      bool             `json:"holds"`
}

type decision struct {
	Outcome string  `json:"outcome"`
	Node    *string `json:"node_id"`
	Layer   *string `json:"layer"`
}

type entry struct {
	Rejected json.RawMessage `json:"rejected"`
	Type     string          `json:"type"`
	Time     time.Time       `json:"time"`
	Class    *string         `json:"security_level"`
	Job      *string         `json:"job_id"`
	Data     *struct {
		Node     *string   `json:"node_id"`
		Layer    *string   `json:"layer"`
		To       *string   `json:"to_node_id"`
		Decision *decision `json:"decision"`
	} `json:"data"`
}

var deciding = map[string]bool{"job_decided": true, "job_redispatched": true, "job_hedged": true}
var running = map[string]bool{"job_ended": true, "job_run_ended": true}

// where returns the node and the layer that an entry names for its job.
func where(e entry) (node, layer *string) {
	if e.Data == nil {
		return nil, nil
	}
	node, layer = e.Data.Node, e.Data.Layer
	if node == nil {
		node = e.Data.To
	}
	if d := e.Data.Decision; d != nil && d.Outcome == "routed" {
		if node == nil {
			node = d.Node
		}
		if layer == nil {
			layer = d.Layer
		}
	}
	return node, layer
}

func examine(all [][]byte, from, to time.Time) (map[string]int64, []target, []target, error) {
	counts := map[string]int64{"entries": int64(len(all)), "in_range": 0, "p0": 0, "cloud": 0, "rejected": 0}
	p0Jobs, decided := map[string]bool{}, map[string]bool{}
	entries := make([]entry, len(all))
	for i, bytes := range all {
		e := &entries[i]
		if err := json.Unmarshal(bytes, e); err != nil {
			return nil, nil, nil, fmt.Errorf("entry %d: %w", i, err)
		}
		if e.Rejected != nil {
			counts["rejected"]++
			continue
		}
		if e.Job != nil && e.Class != nil && *e.Class == "P0" {
			p0Jobs[*e.Job] = true
		}
		if e.Job != nil && deciding[e.Type] {
			decided[*e.Job] = true
		}
	}
	p0, violations := []target{}, []target{}
	for i, e := range entries {
		if e.Rejected != nil || e.Time.Before(from) || !e.Time.Before(to) {
			continue
		}
		counts["in_range"]++
		if e.Job == nil || !(deciding[e.Type] || running[e.Type]) {
			continue
		}
		node, layer := where(e)
		t := target{Index: int64(i), Type: e.Type, Job: *e.Job, Node: node, Layer: layer}
		isP0 := e.Class != nil && *e.Class == "P0"
		inCloud := layer != nil && *layer == "L2"
		if inCloud {
			counts["cloud"]++
		}
		if isP0 && (node != nil || e.Data == nil) {
			p0 = append(p0, t)
		}
		switch {
		case e.Data == nil && (isP0 || p0Jobs[*e.Job]):
			t.Why = "unreadable"
		case inCloud && isP0:
			t.Why = "p0_to_cloud"
		case inCloud && p0Jobs[*e.Job]:
			t.Why = "p0_job_in_cloud"
		case inCloud && running[e.Type] && !decided[*e.Job]:
			t.Why = "undecided_in_cloud"
		}
		if t.Why != "" {
			violations = append(violations, t)
		}
	}
	counts["p0"] = int64(len(p0))
	return counts, p0, violations, nil
}

func verify(folder, key, file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	var p proof
	if err := json.Unmarshal(text, &p); err != nil {
		return "", err
	}
	if p.Format != "tiermesh.no-p0-egress/v1" || p.First != 0 {
		return "", fmt.Errorf("not a proof over a whole log")
	}
	tree, err := open(p.Checkpoint, key)
	if err != nil {
		return "", err
	}
	all, err := entriesOf(folder, tree)
	if err != nil {
		return "", err
	}
	counts, p0, violations, err := examine(all, p.From, p.To)
	if err != nil {
		return "", err
	}
	same := tree.N == p.Size && reflect.DeepEqual(counts, p.Counts) && reflect.DeepEqual(p0, p.P0) &&
		reflect.DeepEqual(violations, p.Violations)
	if !same {
		return "", fmt.Errorf("the proof is not what the tiles say")
	}
	if len(violations) > 0 || !p.Holds {
		return "", fmt.Errorf("the claim does not hold: %d entries contradict it", len(violations))
	}
	return fmt.Sprintf("ok %d %d", len(all), len(p0)), nil
}

// open reads a checkpoint: ours begins with an origin of our own, not with Go's "go.sum database tree".
func open(msg, key string) (tlog.Tree, error) {
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return tlog.Tree{}, err
	}
	opened, err := note.Open([]byte(msg), note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 4 || lines[0] != verifier.Name() {
		return tlog.Tree{}, fmt.Errorf("not a checkpoint of %s", verifier.Name())
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	hash, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: hash}, err
}

// entriesOf reads all entries of a tree and proves each.
func entriesOf(folder string, tree tlog.Tree) ([][]byte, error) {
	hashes := tlog.TileHashReader(tree, tiles{folder, map[tlog.Tile][]byte{}})
	var all [][]byte
	for n := int64(0); n<<height < tree.N; n++ {
		tile := tlog.Tile{H: height, L: -1, N: n, W: int(min(tree.N-n<<height, 1<<height))}
		data, err := read(folder, tile)
		if err != nil {
			return nil, err
		}
		for i := 0; i < tile.W; i++ {
			if len(data) < 2 || len(data)-2 < int(binary.BigEndian.Uint16(data)) {
				return nil, fmt.Errorf("%s ends within an entry", path(tile))
			}
			end := 2 + int(binary.BigEndian.Uint16(data))
			index := int64(len(all))
			proof, err := tlog.ProveRecord(tree.N, index, hashes)
			if err != nil {
				return nil, err
			}
			if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(data[2:end])); err != nil {
				return nil, fmt.Errorf("entry %d: %w", index, err)
			}
			all = append(all, data[2:end])
			data = data[end:]
		}
	}
	return all, nil
}

// tiles reads tiles from a folder. Go's paths have the height in them, C2SP's do not.
type tiles struct {
	folder string
	seen   map[tlog.Tile][]byte
}

func (t tiles) Height() int { return height }

func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range wanted {
		data, ok := t.seen[tile]
		if !ok {
			var err error
			if data, err = read(t.folder, tile); err != nil {
				return nil, err
			}
			if len(data) >= tile.W*tlog.HashSize {
				data = data[:tile.W*tlog.HashSize]
			}
			t.seen[tile] = data
		}
		all = append(all, data)
	}
	return all, nil
}

// read reads a tile, or the full one that took a partial one's place.
func read(folder string, tile tlog.Tile) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(folder, path(tile)))
	if os.IsNotExist(err) && tile.W < 1<<height {
		tile.W = 1 << height
		return os.ReadFile(filepath.Join(folder, path(tile)))
	}
	return data, err
}

func path(tile tlog.Tile) string {
	p := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
	return strings.Replace(p, "tile/data/", "tile/entries/", 1)
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: negative FOLDER VERIFIER-KEY PROOF")
		os.Exit(2)
	}
	said, err := verify(os.Args[1], os.Args[2], os.Args[3])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(said)
}
