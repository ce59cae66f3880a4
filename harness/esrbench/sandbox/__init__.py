"""What confines a worker: bubblewrap, Landlock or a plain process, and the limits of each."""
