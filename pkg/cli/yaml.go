package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"
)

// checkYAML finds what the decoder would pass over in silence: a file of several
// documents, of which it reads the first, and one that is no object.
func checkYAML(data []byte) error {
	documents := yaml.NewDecoder(bytes.NewReader(data))

	var first, second yaml.Node
	if err := documents.Decode(&first); err != nil {
		return endOrError(err)
	}

	if len(first.Content) > 0 && first.Content[0].Kind == yaml.SequenceNode {
		return errors.New("the file is a list; it must be an object")
	}

	if err := documents.Decode(&second); err != nil {
		return endOrError(err)
	}

	return fmt.Errorf("line %d: a second document begins; write one", second.Line)
}

func endOrError(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}

	return err
}
