// Pause holds the namespaces of a pod: it waits until it is told to end. The node's sandbox image, as the official one
// cannot be pulled everywhere.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	<-end
}
