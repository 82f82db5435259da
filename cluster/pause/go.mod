module lockgate.dev/pause

go 1.26
