"""Many processes as one gateway (`[gateway] workers`): who owns a call, and how the others serve it."""
