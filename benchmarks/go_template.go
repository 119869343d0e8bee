// Render a Modelfile's TEMPLATE as Ollama does, with Go's own text/template.
//
//	go run benchmarks/go_template.go < requests.jsonl
//
// A line in is {"template": "...", "messages": [{"role": "user", "content": "..."}]}, a line out is the prompt as JSON.
package main

import (
	"bufio"
	"encoding/json"
	"log"
	"os"
	"strings"
	"text/template"
)

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

type request struct {
	Template string    `json:"template"`
	Messages []message `json:"messages"`
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(make([]byte, 0, 1<<20), 1<<26)
	for in.Scan() {
		var one request
		if err := json.Unmarshal(in.Bytes(), &one); err != nil {
			log.Fatal(err)
		}
		var out strings.Builder
		parsed, err := template.New("modelfile").Parse(one.Template)
		if err == nil {
			err = parsed.Execute(&out, map[string]any{"Messages": one.Messages})
		}
		if err != nil {
			log.Fatal(err)
		}
		encoded, _ := json.Marshal(out.String())
		os.Stdout.Write(append(encoded, '\n'))
	}
}
