"""The spiking network, in the order in which a signal meets it: neurons, layers, the stack, its named shapes."""
